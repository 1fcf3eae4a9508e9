//! Batches survive the way, and hostile ones are refused within bounds.

use proptest::prelude::*;

use super::*;
use crate::testing::Writer;

const PLACE: Place = Place { after: 3, upto: 9, head: 12, now_ms: 5 };

fn records(count: usize) -> Vec<Record> {
    let mut writer = Writer::new(1, "530000/532900");
    (0..count).map(|n| writer.registration("H1", &format!("P{n}"))).collect()
}

#[test]
fn records_survive_with_and_without_compression() {
    for (count, compression) in [(0, Compression::None), (1, Compression::None), (200, Compression::Zstd)] {
        let records = records(count);
        let batch = encode(&records, PLACE);
        assert_eq!(
            (batch.compression, batch.after, batch.upto, batch.head),
            (compression, 3, 9, 12),
            "{count}"
        );
        let back: Vec<Record> =
            decode(&batch).unwrap().into_iter().map(|raw| Record::from_raw(raw).unwrap()).collect();
        assert_eq!(back, records);
    }
}

#[test]
fn hostile_batches_are_refused() {
    let good = encode(&records(50), PLACE);
    let bomb = vec![0u8; 2 * MAX_BATCH_BYTES];
    let many = [0x0A, 0x00].repeat(MAX_RECORDS + 1);
    let with = |change: &dyn Fn(&mut Batch)| {
        let mut batch = good.clone();
        change(&mut batch);
        decode(&batch).map(|records| records.len())
    };
    let raw = |batch: &mut Batch, payload: &[u8]| {
        (batch.compression, batch.raw_len) = (Compression::None, payload.len() as u32);
        batch.payload = Bytes::copy_from_slice(payload);
    };
    assert_eq!(with(&|_| {}), Ok(50));
    assert_eq!(with(&|batch| batch.raw_len = MAX_BATCH_BYTES as u32 + 1), Err(BatchError::TooLong));
    assert_eq!(with(&|batch| batch.raw_len -= 1), Err(BatchError::Compression));
    assert_eq!(with(&|batch| batch.raw_len += 1), Err(BatchError::Length));
    assert_eq!(with(&|batch| batch.compression = Compression::None), Err(BatchError::Length));
    assert_eq!(
        with(&|batch| batch.payload = zstd::bulk::compress(&bomb, 1).unwrap().into()),
        Err(BatchError::Compression)
    );
    assert_eq!(with(&|batch| raw(batch, &many)), Err(BatchError::TooMany));
    assert_eq!(with(&|batch| raw(batch, &many[2..])), Ok(MAX_RECORDS));
    assert_eq!(with(&|batch| raw(batch, &[0x0A, 0x05, 0x00])), Err(BatchError::Form));
    // A record that is none of bytes, and an unknown field that does not end.
    assert_eq!(with(&|batch| raw(batch, &[0x08, 0x00])), Err(BatchError::Form));
    assert_eq!(with(&|batch| raw(batch, &[0x12, 0x05, 0x00])), Err(BatchError::Form));
}

#[test]
fn fields_of_a_newer_list_are_passed_over() {
    let good = encode(&records(3), PLACE);
    let plain = match good.compression {
        Compression::None => good.payload.to_vec(),
        Compression::Zstd => zstd::bulk::decompress(&good.payload, good.raw_len as usize).unwrap(),
    };
    // Field 2 with three bytes and field 3 with a number, before the records and behind them.
    let unknown = [0x12, 0x03, 1, 2, 3, 0x18, 0x96, 0x01];
    let payload = [&unknown[..], &plain, &unknown].concat();
    let raw_len = payload.len() as u32;
    let newer = Batch { compression: Compression::None, raw_len, payload: payload.into(), ..good.clone() };
    assert_eq!(decode(&newer), decode(&good));
}

proptest! {
    #[test]
    fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..200), zstd in any::<bool>(), raw_len in 0..300u32) {
        let compression = if zstd { Compression::Zstd } else { Compression::None };
        let batch = Batch { after: 0, upto: 1, compression, raw_len, payload: payload.into(), head: 1, now_ms: 0, retractions: Vec::new() };
        if let Ok(records) = decode(&batch) {
            prop_assert!(records.len() <= 300);
        }
    }
}
