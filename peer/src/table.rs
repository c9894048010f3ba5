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
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row as TableRow, Table};

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
            Ok(message) => {
                std::iter::once(message).chain(messages.try_iter()).for_each(|message| board.handle(message))
            }
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
    let invite_lines = lines_of(&board.invitation, frame.area().width);
    let invitation =
        if invite_lines.is_empty() { 0 } else { u16::try_from(invite_lines.len() + 2).unwrap_or(u16::MAX) };
    let parts = [Constraint::Length(3), Constraint::Length(rows), Constraint::Length(invitation), Constraint::Min(0)];
    let [head, peers, invite, log] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(self::head(board, " q or Ctrl-C leaves "), head);
    frame.render_widget(table(board, peers.width), peers);
    if invitation > 0 {
        // Nothing stands beside it: a link that is marked and copied over several lines is still a link.
        let rules = Borders::TOP | Borders::BOTTOM;
        let block = Block::new().borders(rules).title(" join from another terminal ").border_style(DIM);
        frame.render_widget(Paragraph::new(Text::from(invite_lines)).block(block), invite);
    }
    let visible = usize::from(log.height.saturating_sub(2));
    let hidden = board.log.len().saturating_sub(visible);
    let lines: Vec<Line<'_>> = board.log.iter().skip(hidden).map(|line| Line::raw(line.as_str())).collect();
    let block = Block::new().borders(Borders::ALL).title(" what happens ").border_style(DIM);
    frame.render_widget(Paragraph::new(Text::from(lines)).block(block), log);
}

/// The command that accepts an invitation, broken where the screen ends and nowhere else.
fn lines_of(invitation: &str, width: u16) -> Vec<Line<'static>> {
    if invitation.is_empty() {
        return Vec::new();
    }
    let command: Vec<char> = format!("peer join '{invitation}'").chars().collect();
    command.chunks(usize::from(width.max(1))).map(|line| Line::raw(line.iter().collect::<String>())).collect()
}

/// Where we are, who we are, and which keys there are.
pub(crate) fn head<'a>(board: &'a Board, keys: &'a str) -> Paragraph<'a> {
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
    let block = Block::new().borders(Borders::ALL).title(" meipo ").title_bottom(keys);
    Paragraph::new(Line::from(line)).block(block.border_style(DIM))
}

/// One column of the table, beside the names.
struct Column {
    head: &'static str,
    width: u16,
    /// Where there is no room for all, those with the highest number are left out first.
    rank: u8,
}

const COLUMNS: [Column; 11] = [
    Column { head: "path", width: 12, rank: 0 },
    Column { head: "rtt ms", width: 6, rank: 5 },
    Column { head: "in kbit/s", width: 9, rank: 2 },
    Column { head: "out kbit/s", width: 10, rank: 6 },
    Column { head: "loss %", width: 6, rank: 3 },
    Column { head: "frames", width: 7, rank: 8 },
    Column { head: "a second", width: 8, rank: 9 },
    Column { head: "lost", width: 4, rank: 4 },
    Column { head: "freezes", width: 7, rank: 7 },
    Column { head: "latency ms", width: 10, rank: 1 },
    Column { head: "MOS", width: 4, rank: 10 },
];

/// Room for two short names and an arrow.
const NAMES_WIDTH: u16 = 13;

/// Which columns fit into a table of this width, frame and gaps included.
fn fitting(width: u16) -> [bool; COLUMNS.len()] {
    let mut room = width.saturating_sub(2 + NAMES_WIDTH);
    let mut fits = [false; COLUMNS.len()];
    let mut ranked: Vec<_> = COLUMNS.iter().zip(&mut fits).collect();
    ranked.sort_by_key(|(column, _)| column.rank);
    for (column, fits) in ranked {
        let Some(left) = room.checked_sub(column.width + 1) else { break };
        (room, *fits) = (left, true);
    }
    fits
}

fn table(board: &Board, width: u16) -> Table<'_> {
    let is_demo = board.rows.keys().any(|(at, _)| at.is_some());
    let fits = fitting(width);
    let shown = || COLUMNS.iter().zip(fits).filter(|(_, fits)| *fits).map(|(column, _)| column);
    let heads = std::iter::once(if is_demo { "who ← whom" } else { "who" }).chain(shown().map(|column| column.head));
    let widths = std::iter::once(Constraint::Fill(1)).chain(shown().map(|column| Constraint::Length(column.width)));
    let rows = sorted(board).into_iter().map(|((at, _), row)| row_of(at.as_deref(), row, fits));
    let head = TableRow::new(heads.map(Cell::from)).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).header(head).block(Block::new().borders(Borders::ALL).border_style(DIM))
}

/// The rows as people look for them: by name.
pub(crate) fn sorted(board: &Board) -> Vec<(&(Option<String>, PeerId), &Row)> {
    let mut rows: Vec<_> = board.rows.iter().collect();
    rows.sort_by_key(|((at, _), row)| (at, &row.stats.name));
    rows
}

fn row_of<'a>(at: Option<&str>, row: &'a Row, fits: [bool; COLUMNS.len()]) -> TableRow<'a> {
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
    let cells = [
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
        Cell::from(number(stats.mos)).style(warn(stats.mos.is_some_and(|mos| mos < 3.1))),
    ];
    let shown = cells.into_iter().zip(fits).filter(|(_, fits)| *fits).map(|(cell, _)| cell);
    TableRow::new(std::iter::once(Cell::from(who)).chain(shown))
}

/// What is not looked at.
pub(crate) const DIM: Style = Style::new().fg(Color::DarkGray);

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
    fn a_narrow_terminal_shows_whole_names_and_fewer_columns() {
        let ordinary = screen(80, 24);
        for word in ["alice", "direct v6", "loss %", "latency ms"] {
            assert!(ordinary.contains(word), "{word}: {ordinary}");
        }
        assert!(!ordinary.contains("freezes"), "{ordinary}");
        assert!(screen(120, 24).contains("freezes"));
    }

    #[test]
    fn an_invitation_is_shown_to_its_last_character() {
        let link = format!("meipo://127.0.0.1:1935/demo#{}.{}", "a".repeat(52), "b".repeat(26));
        for width in [1, 40, 80, 100, 120] {
            let text: String = lines_of(&link, width).iter().map(ToString::to_string).collect();
            assert_eq!(text, format!("peer join '{link}'"));
        }
        assert!(lines_of("", 80).is_empty());
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
        let joined = PeerJoined { peer, name: "alice".into(), safety_number: "1".into(), host: false };
        board.take(Told { report: Report::PeerJoined(joined), at: None });
        let stats = Stats { peer: Some(peer), name: "alice".into(), path: Some("direct"), ..Stats::default() };
        board.take(Told { report: Report::Stats(stats), at: None });
        board.rows.values_mut().for_each(|row| row.address_family = Some("ipv6"));
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &board)).unwrap();
        terminal.backend().to_string()
    }
}
