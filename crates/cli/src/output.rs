//! Where output goes: data to standard output, as text or one JSON object; messages and progress to standard error.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::query::{AnswerScope, Source, SourceState};
use serde::Serialize;

use crate::error::CliError;
use crate::exit::Exit;
use crate::json;
use crate::text::{plain, span};

/// The output of one command.
pub(crate) struct Output<'a> {
    pub data: &'a mut dyn Write,
    pub messages: &'a mut dyn Write,
    pub json: bool,
    /// Whether `data` is a terminal that can be redrawn.
    pub redraws: bool,
    /// Whether to show progress on standard error; indicatif shows none when that is no terminal.
    pub progress: bool,
}

impl<'a> Output<'a> {
    /// The output of this process.
    pub fn of_process(data: &'a mut io::Stdout, messages: &'a mut io::Stderr, json: bool) -> Self {
        let redraws = data.is_terminal() && !json;
        Self { data, messages, json, redraws, progress: true }
    }

    /// Writes the answer of a command, in the form asked for.
    pub fn answer<J: Serialize>(
        &mut self,
        human: impl FnOnce() -> String,
        json: impl FnOnce() -> J,
    ) -> Result<(), CliError> {
        if self.json {
            let text =
                serde_json::to_string(&json()).map_err(|error| CliError::Process(error.to_string()))?;
            self.line(&text)
        } else {
            self.line(human().trim_end())
        }
    }

    fn line(&mut self, text: &str) -> Result<(), CliError> {
        match writeln!(self.data, "{text}").and_then(|()| self.data.flush()) {
            // Whoever read our output has enough of it (`| head`); that is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| CliError::Process(format!("standard output: {error}"))),
        }
    }

    /// Makes room for the next look of something watched.
    pub fn clear(&mut self) -> Result<(), CliError> {
        if !self.redraws {
            return Ok(());
        }
        // Home, then erase what is below: unlike erasing all, this does not flicker.
        let cleared = self.data.write_all(b"\x1b[H\x1b[J");
        cleared.map_err(|error| CliError::Process(format!("standard output: {error}")))
    }

    /// A message for people, on standard error.
    pub fn note(&mut self, text: &str) {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(self.messages, "{text}");
    }

    /// Ends the command: an error becomes one line on standard error and, with `--json`, an object on standard output.
    pub fn end(&mut self, ended: Result<(), CliError>) -> Exit {
        let Err(error) = ended else { return Exit::Ok };
        self.note(&format!("error: {error}"));
        // An answer with an empty list has been written already when nothing was found.
        if self.json
            && !matches!(
                error,
                CliError::NothingFound(_) | CliError::NothingFoundYet(_) | CliError::Process(_)
            )
        {
            let written = self.answer(String::new, || json::Failed::from(&error));
            if let Err(error) = written {
                self.note(&format!("error: {error}"));
            }
        }
        error.exit()
    }

    /// A progress bar over `total` bytes, starting at `done`.
    pub fn bar(&self, total: u64, done: u64) -> ProgressBar {
        let target = if self.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}");
        let bar = ProgressBar::with_draw_target(Some(total), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        bar
    }
}

/// A table with these column heads; those that start with `>` are aligned right.
pub(crate) fn table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_header(heads.iter().map(|head| head.trim_start_matches('>')));
    for (column, head) in table.column_iter_mut().zip(heads) {
        if head.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A cell with text from elsewhere.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(plain(text.as_ref()))
}

/// Most replicated sources named one by one.
const NAMED_SOURCES: usize = 8;

/// The line under every answer: who answered, from how fresh records, and who did not reply.
pub(crate) fn scope_line(scope: &AnswerScope) -> String {
    let heard = |source: &Source| scope.answered_ms.saturating_sub(source.heard_ms);
    let complete = if scope.complete { "complete" } else { "INCOMPLETE" };
    let mut parts = vec![format!("answered by {} ({complete})", scope.answered_by)];
    let of = |state| {
        scope.sources.iter().filter(move |source| source.state == state && source.path != scope.answered_by)
    };
    parts.extend(of(SourceState::NoReply).map(|source| {
        let reason =
            if source.reason.is_empty() { "no reason known".to_owned() } else { plain(&source.reason) };
        format!("{} did not reply: {reason}", source.path)
    }));
    parts.extend(of(SourceState::Live).map(|source| format!("{} answered live", source.path)));
    let mut replicated: Vec<&Source> = of(SourceState::Replicated).collect();
    // The stalest first: they are what the reader needs to know when the list is cut.
    replicated.sort_by_key(|source| (std::cmp::Reverse(source.behind), source.heard_ms));
    let (named, rest) = replicated.split_at(replicated.len().min(NAMED_SOURCES));
    parts.extend(named.iter().map(|source| match source.heard_ms {
        0 => format!("{} not heard since this node started", source.path),
        _ => format!("{} heard {} ago, {} behind", source.path, span(heard(source)), source.behind),
    }));
    if let Some(stalest) = rest.iter().map(|source| heard(source)).max() {
        let behind = rest.iter().map(|source| source.behind).max().unwrap_or(0);
        parts.push(format!("{} more heard within {}, at most {behind} behind", rest.len(), span(stalest)));
    }
    parts.join("; ")
}

/// Durable here, not yet above: and why.
pub(crate) fn not_above(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(", not yet above ({})", plain(why)) }
}
