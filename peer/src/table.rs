//! The live table on a terminal: a head, one row for each peer, and what happened lately.
//!
//! The terminal is given back however the program ends: at the end of [`run`], by the panic hook, or by [`restore`].

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use meipo::units::PeerId;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row as TableRow, Table, Wrap};

use crate::board::{Board, Rendezvous, Row};
use crate::output::Message;
use crate::params::BOARD_TICK;
use crate::stop::Stop;

/// Shows what comes until nothing more can come, then prints how it went.
///
/// # Errors
/// When the terminal does not take it.
pub fn run(messages: &Receiver<Message>, mut board: Board, stop: &Stop) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = loop {
        if let Err(error) = terminal.draw(|frame| draw(frame, &board)).and_then(|_| read_keys(stop)) {
            break Err(error);
        }
        match messages.recv_timeout(BOARD_TICK) {
            Ok(message) => std::iter::once(message).chain(messages.try_iter()).for_each(|message| match message {
                Message::Line(line) => board.take(*line),
                Message::Note(note) => board.note(note),
            }),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
        }
    };
    restore();
    for ((at, _), row) in sorted(&board) {
        println!("{}{}", at.as_ref().map_or(String::new(), |at| format!("[{at}] ")), row.stats);
    }
    shown
}

/// Gives the terminal back.
pub fn restore() {
    ratatui::restore();
}

/// Raw terminals turn Ctrl-C into a key.
fn read_keys(stop: &Stop) -> io::Result<()> {
    while event::poll(std::time::Duration::ZERO)? {
        let Event::Key(key) = event::read()? else { continue };
        let is_ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if key.kind == KeyEventKind::Press && (is_ctrl_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)) {
            stop.ask();
        }
    }
    Ok(())
}

fn draw(frame: &mut Frame<'_>, board: &Board) {
    let rows = u16::try_from(board.rows.len().max(1)).unwrap_or(u16::MAX).saturating_add(3);
    let invitation = if board.invitation.is_empty() { 0 } else { 4 };
    let parts = [Constraint::Length(3), Constraint::Length(rows), Constraint::Length(invitation), Constraint::Min(0)];
    let [head, peers, invite, log] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(self::head(board), head);
    frame.render_widget(table(board), peers);
    if invitation > 0 {
        let command = format!("peer watch '{}'", board.invitation);
        let block = Block::new().borders(Borders::ALL).title(" join from another terminal ").border_style(DIM);
        frame.render_widget(Paragraph::new(command).wrap(Wrap { trim: false }).block(block), invite);
    }
    let visible = usize::from(log.height.saturating_sub(2));
    let hidden = board.log.len().saturating_sub(visible);
    let lines: Vec<Line<'_>> = board.log.iter().skip(hidden).map(|line| Line::raw(line.as_str())).collect();
    let block = Block::new().borders(Borders::ALL).title(" what happens ").border_style(DIM);
    frame.render_widget(Paragraph::new(Text::from(lines)).block(block), log);
}

fn head(board: &Board) -> Paragraph<'_> {
    let (state, colour) = match board.rendezvous {
        Rendezvous::Entering => ("looking for the rendezvous …", Color::Yellow),
        Rendezvous::There => ("rendezvous there", Color::Green),
        Rendezvous::Lost => ("rendezvous lost, calls go on", Color::Red),
    };
    let mut line = vec![Span::styled(format!(" {} ", board.place), Modifier::BOLD)];
    if let Some(me) = &board.me {
        line.push(Span::raw(format!("· you are {me} ")));
    }
    line.push(Span::raw("· "));
    line.push(Span::styled(state, colour));
    let block = Block::new().borders(Borders::ALL).title(" meipo ").title_bottom(" q or Ctrl-C leaves ");
    Paragraph::new(Line::from(line)).block(block.border_style(DIM))
}

fn table(board: &Board) -> Table<'_> {
    let is_demo = board.rows.keys().any(|(at, _)| at.is_some());
    let who = if is_demo { "who ← whom" } else { "who" };
    let heads = [
        who,
        "path",
        "rtt ms",
        "in kbit/s",
        "out kbit/s",
        "loss %",
        "frames",
        "a second",
        "lost",
        "freezes",
        "latency ms",
    ];
    let rows = sorted(board).into_iter().map(|((at, _), row)| row_of(at.as_deref(), row));
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(11),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(7),
        Constraint::Length(10),
    ];
    let head = TableRow::new(heads.map(Cell::from)).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).header(head).block(Block::new().borders(Borders::ALL).border_style(DIM))
}

/// The rows as people look for them: by name.
fn sorted(board: &Board) -> Vec<(&(Option<String>, PeerId), &Row)> {
    let mut rows: Vec<_> = board.rows.iter().collect();
    rows.sort_by_key(|((at, _), row)| (at, &row.stats.name));
    rows
}

fn row_of<'a>(at: Option<&str>, row: &'a Row) -> TableRow<'a> {
    let stats = &row.stats;
    let who = at.map_or(stats.name.clone(), |at| format!("{at} ← {}", stats.name));
    let colour = match stats.path {
        Some("direct") => Color::Green,
        Some("relayed") => Color::Yellow,
        Some("tunnelled") => Color::Magenta,
        Some(_) | None => Color::DarkGray,
    };
    let path = match (stats.path, row.address_family) {
        (Some(path), Some("ipv6")) => format!("{path} v6"),
        (path, _) => path.unwrap_or("…").to_owned(),
    };
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
    let warn = |is_bad: bool| if is_bad { Style::new().fg(Color::Red) } else { Style::new() };
    TableRow::new([
        Cell::from(who),
        Cell::from(path).style(colour),
        Cell::from(number(stats.rtt_ms)),
        Cell::from(stats.received_kbps.to_string()),
        Cell::from(stats.sent_kbps.to_string()),
        Cell::from(format!("{:.1}", stats.loss * 100.0)).style(warn(stats.loss > 0.02)),
        Cell::from(stats.frames.to_string()),
        Cell::from(row.frame_rate.to_string()),
        Cell::from(stats.frames_lost.to_string()).style(warn(stats.frames_lost > 0)),
        Cell::from(stats.freezes.to_string()).style(warn(stats.freezes > 0)),
        Cell::from(number(stats.latency_ms)),
    ])
}

const DIM: Style = Style::new().fg(Color::DarkGray);

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::events::{Line as Told, PeerJoined, Report, Stats};

    #[test]
    fn a_row_says_who_and_how() {
        let screen = screen(120, 20);
        assert!(screen.contains("alice") && screen.contains("direct"), "{screen}");
        assert!(screen.contains("tea at example.org") && screen.contains("rendezvous"), "{screen}");
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 2)] {
            screen(width, height);
        }
    }

    fn screen(width: u16, height: u16) -> String {
        let mut board = Board::new("tea at example.org".into());
        let peer = PeerId::from_bytes([1; 32]);
        let joined = PeerJoined { peer, name: "alice".into(), safety_number: "1".into() };
        board.take(Told { report: Report::PeerJoined(joined), at: None });
        let stats = Stats { peer: Some(peer), name: "alice".into(), path: Some("direct"), ..Stats::default() };
        board.take(Told { report: Report::Stats(stats), at: None });
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &board)).unwrap();
        terminal.backend().to_string()
    }
}
