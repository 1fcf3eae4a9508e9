"""Registers, submits, finds and fetches with a client that nobody here wrote: grpcio and messages generated from proto/.

  client.py TIERMESH      where TIERMESH is the binary

Makes a tree of three tiers with the command line tool, on loopback, in a temporary folder, and removes both at the end.
Closes with `N passed, 0 failed`.
"""
import contextlib
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import time

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tiermesh.v1 import common_pb2, document_pb2, document_pb2_grpc, node_pb2, node_pb2_grpc, patient_pb2, patient_pb2_grpc, record_pb2

PROVINCE, DALI, KUNMING = "530000", "530000/532900", "530000/530100"
DALI_CITY, WUHUA = DALI + "/532901", KUNMING + "/530102"
NAMES = {PROVINCE: "云南省", DALI: "大理白族自治州", KUNMING: "昆明市", DALI_CITY: "大理市", WUHUA: "五华区"}
TIERS = ["province", "prefecture", "county"]
# Unified social credit codes of invented hospitals (GB 32100, check characters computed below).
ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
RESIDENT_ID = "53290119870501468"
DEADLINE = 30


def social_credit_code(region):
    body = "12" + region + "MB0000001"
    total = sum(ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(body))
    return body + ALPHABET[(31 - total % 31) % 31]


def resident_id():
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return RESIDENT_ID + "10X98765432"[sum(int(c) * w for c, w in zip(RESIDENT_ID, weights)) % 11]


class Tree:
    def __init__(self, binary, folder):
        self.binary, self.folder, self.processes, self.addresses = binary, folder, {}, {}
        self.command("ca", "init", "--trust-domain", "python.tiermesh", "--out", self.folder / "root")
        for path in NAMES:
            above = self.folder / "root" if path == PROVINCE else self.identity(path.rsplit("/", 1)[0])
            self.command("ca", "issue", "node", "--authority", above, "--path", path, "--advertise", "localhost",
                         "--advertise", "127.0.0.1", "--out", self.identity(path))

    def command(self, *arguments):
        subprocess.run([self.binary, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)

    def identity(self, path):
        return self.folder / path.replace("/", "-") / "identity"

    def start(self, path):
        home = self.folder / path.replace("/", "-")
        arguments = ["init", "--dir", home, "--name", NAMES[path], "--tier", TIERS[path.count("/")], "--identity",
                     self.identity(path), "--listen", "127.0.0.1:0"]
        if path != PROVINCE:
            arguments += ["--parent", self.addresses[path.rsplit("/", 1)[0]]]
        self.command(*arguments)
        log = open(home / "log.txt", "w")
        process = subprocess.Popen([self.binary, "run", "--stop-with-stdin", "--config", str(home / "node.toml")],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self.processes[path] = process
        line = process.stdout.readline().split()
        assert line and line[0] == "ready", (home / "log.txt").read_text()
        self.addresses[path] = line[2]

    def stop(self):
        for process in reversed(self.processes.values()):
            process.stdin.close()
        for process in self.processes.values():
            process.wait(timeout=30)

    def channel(self, path, role, who):
        out = self.folder / "clients" / (role + who + path.replace("/", "-"))
        if not out.exists():
            self.command("ca", "issue", role, who, "--authority", self.identity(path), "--out", out)
        read = lambda name: (out / name).read_bytes()
        credentials = grpc.ssl_channel_credentials(read("root.pem"), read("client.key"), read("client.pem"))
        return grpc.secure_channel(self.addresses[path], credentials)


def until(what, condition, seconds=60):
    """Waits for a condition; the bound is there only so that a failure ends."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


def refused(call):
    """Code, machine-readable reason and offending fields of a refused call."""
    try:
        call()
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        status, reason, fields = status_pb2.Status.FromString(details), "", []
        for detail in status.details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                reason = info.reason
            if detail.Unpack(bad):
                fields = [violation.field for violation in bad.field_violations]
        return error.code(), reason, fields
    raise AssertionError("the call was not refused")


def registration(local_id, written_id):
    identifier = record_pb2.Identifier(type="01", value=written_id)
    return record_pb2.Registration(local_id=local_id, name="段·金花", sex="2", birth_date="1987-05-01", identifiers=[identifier])


def entry_of(content, local_id="B-1", document_id="LAB-1"):
    return record_pb2.DocumentEntry(document_id=document_id, local_id=local_id, type_code="C0007", title="检验报告 血常规",
                                    created_ms=1780000000000, confidentiality="N", media_type="text/xml", size=len(content),
                                    sha256=hashlib.sha256(content).digest())


def submission(entry, content, chunk=100_000):
    yield document_pb2.SubmitDocumentRequest(entry=entry)
    for at in range(0, len(content), chunk):
        yield document_pb2.SubmitDocumentRequest(chunk=content[at:at + chunk])


def check_register(here, there):
    first = here.Register(patient_pb2.RegisterRequest(registration=registration("A-1", resident_id())), timeout=DEADLINE)
    assert first.outcome == patient_pb2.REGISTER_OUTCOME_CREATED and len(first.number) == 16
    again = here.Register(patient_pb2.RegisterRequest(registration=registration("A-1", resident_id())), timeout=DEADLINE)
    assert (again.outcome, again.version) == (patient_pb2.REGISTER_OUTCOME_UNCHANGED, first.version)
    spaced = resident_id()[:6] + " " + resident_id()[6:].lower()
    there.Register(patient_pb2.RegisterRequest(registration=registration("B-1", spaced)), timeout=DEADLINE)


def check_bad_input(here):
    wrong = registration("A-2", resident_id())
    wrong.birth_date, wrong.sex = "1987-02-30", "7"
    code, reason, fields = refused(lambda: here.Register(patient_pb2.RegisterRequest(registration=wrong), timeout=DEADLINE))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID"), (code, reason)
    assert {"birth_date", "sex"} <= {field.split(".")[-1] for field in fields}, fields


def check_unreadable(channel):
    """Bytes that no generated client sends: text that is not UTF-8, and a message over the limit."""
    raw = channel.unary_unary("/tiermesh.v1.PatientService/Register", request_serializer=bytes, response_deserializer=bytes)
    request = patient_pb2.RegisterRequest(registration=registration("A-3", resident_id())).SerializeToString()
    latin = request.replace("段·金花".encode(), b"\xff" * len("段·金花".encode()))
    code, reason, fields = refused(lambda: raw(latin, timeout=DEADLINE))
    assert (code, reason, fields) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_MESSAGE", ["registration.name"]), (code, reason, fields)
    code, reason, _ = refused(lambda: raw(request + b"\x7a\x80\x80\x80\x04" + bytes(8 << 20), timeout=DEADLINE))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MESSAGE_TOO_LONG"), (code, reason)


def check_wrong_role(operator):
    code, reason, _ = refused(lambda: operator.Register(patient_pb2.RegisterRequest(registration=registration("X", "")), timeout=DEADLINE))
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "WRONG_ROLE"), (code, reason)


def check_documents(there, content):
    reply = there.Submit(submission(entry_of(content), content), timeout=DEADLINE)
    assert reply.outcome == document_pb2.SUBMIT_OUTCOME_CREATED
    code, reason, _ = refused(lambda: there.Submit(submission(entry_of(content, document_id="LAB-2"), content[:-1] + b"?"), timeout=DEADLINE))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "HASH_MISMATCH"), (code, reason)
    code, reason, _ = refused(lambda: there.Submit(submission(entry_of(content, "NOBODY", "LAB-3"), content), timeout=DEADLINE))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_PATIENT"), (code, reason)


def check_find(patients):
    identifier = record_pb2.Identifier(type="01", value=resident_id())
    request = patient_pb2.FindPatientsRequest(identifier=identifier, context=common_pb2.QueryContext(practitioner="D001"))
    def both():
        answer = patients.Find(request, timeout=DEADLINE)
        found = {one.node_path for person in answer.persons for one in person.registrations}
        return answer if found == {DALI_CITY, WUHUA} else None
    answer = until("both registrations found from the first county", both)
    assert len(answer.persons) == 1 and answer.scope.complete
    assert {one.registration.name for one in answer.persons[0].registrations} == {"段·金花"}


def check_retrieve(documents, content):
    identifier = record_pb2.Identifier(type="01", value=resident_id())
    request = document_pb2.FindDocumentsRequest(identifier=identifier, type_codes=["C0007"])
    answer = until("the document found from the first county", lambda: (lambda a: a if a.documents else None)(documents.Find(request, timeout=DEADLINE)))
    found = answer.documents[0]
    assert (found.entry.document_id, found.custodian_path) == ("LAB-1", WUHUA)
    wanted = document_pb2.RetrieveDocumentRequest(key=found.key, custodian_path=found.custodian_path)
    replies = list(documents.Retrieve(wanted, timeout=DEADLINE))
    assert replies[0].entry.title == "检验报告 血常规"
    assert b"".join(reply.chunk for reply in replies[1:]) == content


def check_deadline(documents):
    request = document_pb2.FindDocumentsRequest(number="0" * 16)
    # A microsecond: the answer can still win the race, so it is asked until the deadline does.
    passed = grpc.StatusCode.DEADLINE_EXCEEDED
    until("a deadline that passes", lambda: refused(lambda: documents.Find(request, timeout=0.000001))[0] == passed)


def check_reflection_and_health(channel):
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert "tiermesh.v1.PatientService" in services and "grpc.health.v1.Health" in services, services
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE)
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def main():
    binary = str(pathlib.Path(sys.argv[1]).resolve())
    content = "".join(f"<结果 序号='{i}'>血红蛋白 13{i % 10} g/L</结果>\n" for i in range(20000)).encode()
    passed = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        tree = Tree(binary, pathlib.Path(folder))
        stack.callback(tree.stop)
        for path in NAMES:
            tree.start(path)
        here = tree.channel(DALI_CITY, "institution", social_credit_code("532901"))
        there = tree.channel(WUHUA, "institution", social_credit_code("530102"))
        operator = tree.channel(DALI_CITY, "operator", "li")
        patients = lambda channel: patient_pb2_grpc.PatientServiceStub(channel)
        documents = lambda channel: document_pb2_grpc.DocumentServiceStub(channel)
        status = lambda: node_pb2_grpc.NodeServiceStub(operator).GetStatus(node_pb2.GetStatusRequest(), timeout=DEADLINE)
        until("the county accepts writes", lambda: status().writing)
        until("the other county accepts writes", lambda: node_pb2_grpc.NodeServiceStub(there).GetStatus(node_pb2.GetStatusRequest(), timeout=DEADLINE).writing)
        until("health says so", lambda: health_pb2_grpc.HealthStub(there).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE).status == health_pb2.HealthCheckResponse.SERVING)
        for check, arguments in [
            (check_register, (patients(here), patients(there))),
            (check_bad_input, (patients(here),)),
            (check_unreadable, (here,)),
            (check_wrong_role, (patients(operator),)),
            (check_documents, (documents(there), content)),
            (check_find, (patients(here),)),
            (check_retrieve, (documents(here), content)),
            (check_deadline, (documents(here),)),
            (check_reflection_and_health, (there,)),
        ]:
            check(*arguments)
            passed += 1
            print(f"ok {check.__name__}", flush=True)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
