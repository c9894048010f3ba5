//! The screen of a call: who is here and how loud, how old each voice is, what was written, and a line to write on.
//!
//! The terminal is given back however the program ends: at the end of [`run`], by the panic hook, or by [`restore`].

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use meipo::net::clock::Clock;
use ratatui::Frame;
use ratatui::crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
    PushKeyboardEnhancementFlags,
};
use ratatui::crossterm::execute;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row as TableRow, Table};
use tokio::sync::mpsc::UnboundedSender;

use super::action::{Action, Key, Keys};
use crate::board::{Board, Row};
use crate::output::Message;
use crate::params::{SCREEN_TICK, SPEAKING_LEVEL};
use crate::table::{self, DIM, sorted};

/// Shows what comes until nothing more can come, and passes on what the person wants.
///
/// # Errors
/// When the terminal does not take it.
pub fn run(messages: &Receiver<Message>, mut board: Board, actions: &UnboundedSender<Action>) -> io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    // Terminals that know how to will tell when a key is released; the others ignore this.
    let _ = execute!(io::stdout(), PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::REPORT_EVENT_TYPES));
    let (clock, mut keys) = (Clock::start(), Keys::default());
    let shown = loop {
        if let Err(error) = terminal.draw(|frame| draw(frame, &board, keys.typed())) {
            break Err(error);
        }
        match event::poll(SCREEN_TICK).and_then(|_| read_keys(&mut keys, clock)) {
            // Whoever does not listen any more is leaving already.
            Ok(wanted) => wanted.into_iter().for_each(|action| drop(actions.send(action))),
            Err(error) => break Err(error),
        }
        if take(messages, &mut board) {
            break Ok(());
        }
    };
    restore();
    shown
}

/// Gives the terminal back.
pub fn restore() {
    let _ = execute!(io::stdout(), PopKeyboardEnhancementFlags);
    ratatui::restore();
}

/// Takes what has come; `true` if nothing more can come.
fn take(messages: &Receiver<Message>, board: &mut Board) -> bool {
    loop {
        match messages.try_recv() {
            Ok(message) => board.handle(message),
            Err(TryRecvError::Empty) => return false,
            Err(TryRecvError::Disconnected) => return true,
        }
    }
}

/// What the keys that were pressed mean.
fn read_keys(keys: &mut Keys, clock: Clock) -> io::Result<Vec<Action>> {
    let mut wanted = Vec::new();
    while event::poll(Duration::ZERO)? {
        let Event::Key(key) = event::read()? else { continue };
        wanted.extend(action_of(key, keys, clock));
    }
    wanted.extend(keys.tick(clock.now()));
    Ok(wanted)
}

/// Raw terminals turn Ctrl-C into a key.
fn action_of(event: KeyEvent, keys: &mut Keys, clock: Clock) -> Option<Action> {
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        let leaves = event.code == KeyCode::Char('c') && event.kind == KeyEventKind::Press;
        return leaves.then_some(Action::Leave);
    }
    let key = key_of(event.code)?;
    match event.kind {
        KeyEventKind::Press | KeyEventKind::Repeat => keys.press(key, clock.now()),
        KeyEventKind::Release => keys.release(key),
    }
}

fn key_of(code: KeyCode) -> Option<Key> {
    if let KeyCode::Char(character) = code {
        return Some(if character == ' ' { Key::Space } else { Key::Character(character) });
    }
    let known = [
        (KeyCode::Tab, Key::Tab),
        (KeyCode::Enter, Key::Enter),
        (KeyCode::Backspace, Key::Backspace),
        (KeyCode::Esc, Key::Escape),
    ];
    known.into_iter().find_map(|(known, key)| (known == code).then_some(key))
}

fn draw(frame: &mut Frame<'_>, board: &Board, typed: &str) {
    let rows = u16::try_from(board.rows.len().max(1)).unwrap_or(u16::MAX).saturating_add(3);
    let parts = [
        Constraint::Length(3),
        Constraint::Length(rows),
        Constraint::Length(2),
        Constraint::Min(3),
        Constraint::Length(3),
    ];
    let [head, people, here, log, line] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(table::head(board, " Tab mutes · hold Space to talk · Esc leaves "), head);
    frame.render_widget(self::people(board), people);
    frame.render_widget(self::here(board), here);
    let visible = usize::from(log.height.saturating_sub(2));
    let hidden = board.log.len().saturating_sub(visible);
    let lines: Vec<Line<'_>> = board.log.iter().skip(hidden).map(|line| Line::raw(line.as_str())).collect();
    let block = Block::new().borders(Borders::ALL).title(" what happens ").border_style(DIM);
    frame.render_widget(Paragraph::new(Text::from(lines)).block(block), log);
    frame.render_widget(self::line(typed, line.width), line);
}

fn people(board: &Board) -> Table<'_> {
    let heads = ["who", "level", "path", "rtt ms", "loss %", "heard after ms", "MOS"];
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(METER),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(14),
        Constraint::Length(4),
    ];
    let rows = sorted(board)
        .into_iter()
        .map(|((_, peer), row)| row_of(row, board.meters.theirs.get(peer).copied().unwrap_or_default()));
    let head = TableRow::new(heads).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).header(head).block(Block::new().borders(Borders::ALL).border_style(DIM))
}

fn row_of(row: &Row, level: f32) -> TableRow<'_> {
    let stats = &row.stats;
    let is_speaking = level >= SPEAKING_LEVEL;
    let mark = if row.is_muted { "muted" } else { "" };
    let hand = if row.has_hand_up { " ✋" } else { "" };
    let name = Span::styled(stats.name.clone(), if is_speaking { SPEAKING } else { Style::new() });
    let who = Line::from(vec![name, Span::raw(hand), Span::styled(format!(" {mark}"), DIM)]);
    let heard = row.mouth_to_ear.as_ref().map(|heard| heard.total_ms);
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
    TableRow::new([
        Cell::from(who),
        Cell::from(meter(level, is_speaking)),
        Cell::from(stats.path.unwrap_or("…")),
        Cell::from(number(stats.rtt_ms)),
        Cell::from(format!("{:.1}", stats.loss * 100.0)),
        Cell::from(number(heard)),
        Cell::from(number(stats.mos)),
    ])
}

/// How it stands at this end, and where the time of the slowest voice goes.
fn here(board: &Board) -> Paragraph<'_> {
    let state = if board.meters.is_open { "microphone on  " } else { "microphone OFF " };
    let colour = if board.meters.is_open { Color::Green } else { Color::Red };
    let mine = board.meters.mine;
    let mut first = vec![Span::raw(" you "), Span::styled(state, Style::new().fg(colour).add_modifier(Modifier::BOLD))];
    first.push(meter(mine, board.meters.is_open && mine >= SPEAKING_LEVEL));
    let slowest = board.rows.values().filter_map(|row| row.mouth_to_ear.as_ref());
    let slowest = slowest.max_by(|one, other| one.total_ms.total_cmp(&other.total_ms));
    let second = slowest.map_or(String::new(), |heard| format!(" {heard}"));
    Paragraph::new(vec![Line::from(first), Line::styled(second, DIM)])
}

fn meter(level: f32, is_speaking: bool) -> Span<'static> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the meter's width")]
    let lit = (level.clamp(0.0, 1.0) * f32::from(METER)).round() as usize;
    let text = format!("{}{}", "▮".repeat(lit), "▯".repeat(usize::from(METER) - lit));
    Span::styled(text, if is_speaking { SPEAKING } else { DIM })
}

/// The end of what is typed, where there is no room for all of it.
fn line(typed: &str, width: u16) -> Paragraph<'_> {
    let room = usize::from(width.saturating_sub(5));
    let hidden = typed.chars().count().saturating_sub(room);
    let shown: String = typed.chars().skip(hidden).collect();
    let block = Block::new().borders(Borders::ALL).title(" write to everybody ").border_style(DIM);
    Paragraph::new(Line::from(vec![Span::styled("> ", DIM), Span::raw(shown), Span::raw("▏")])).block(block)
}

/// Width of a meter.
const METER: u16 = 10;

const SPEAKING: Style = Style::new().fg(Color::Green).add_modifier(Modifier::BOLD);

#[cfg(test)]
mod tests {
    use meipo::units::PeerId;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::call::reports::{Chat, MouthToEar, PresenceReport};
    use crate::events::{Line as Told, PeerJoined, Report, Stats};

    const ALICE: PeerId = PeerId::from_bytes([1; 32]);

    #[test]
    fn it_shows_who_speaks_and_how_old_their_voice_is() {
        let mut board = board();
        board.meters.theirs.insert(ALICE, 0.8);
        board.meters.is_open = true;
        let screen = screen(&board, "hello", 100, 24);
        for part in ["alice", "▮▮▮▮▮▮▮▮▯▯", "direct", "61.0", "microphone on", "alice is heard after 61 ms", "> hello"]
        {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
    }

    #[test]
    fn who_is_muted_is_marked_and_what_is_written_is_shown() {
        let mut board = board();
        let muted = PresenceReport { peer: ALICE, name: "alice".into(), muted: true, hand: true };
        tell(&mut board, Report::Presence(muted));
        tell(&mut board, Report::Chat(Chat { peer: Some(ALICE), name: "alice".into(), text: "tea?".into(), at: 0 }));
        let screen = screen(&board, "", 100, 24);
        for part in ["muted", "✋", "<alice> tea?", "microphone OFF"] {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
    }

    #[test]
    fn the_end_of_a_long_line_is_seen() {
        let typed = format!("{}end", "x".repeat(300));
        assert!(screen(&board(), &typed, 60, 24).contains("xend"));
    }

    #[test]
    fn no_terminal_is_too_small() {
        for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 2)] {
            screen(&board(), "typed", width, height);
        }
    }

    #[test]
    fn keys_mean_what_the_screen_says() {
        let (mut keys, clock) = (Keys::default(), Clock::start());
        let mut press = |code, modifiers| action_of(KeyEvent::new(code, modifiers), &mut keys, clock);
        assert_eq!(press(KeyCode::Tab, KeyModifiers::NONE), Some(Action::ToggleMute));
        assert_eq!(press(KeyCode::Char(' '), KeyModifiers::NONE), Some(Action::Talk(true)));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Leave));
        assert_eq!(press(KeyCode::F(1), KeyModifiers::NONE), None);
        assert_eq!(press(KeyCode::Esc, KeyModifiers::NONE), Some(Action::Leave));
    }

    fn board() -> Board {
        let mut board = Board::new("tea at example.org".into());
        let joined = PeerJoined { peer: ALICE, name: "alice".into(), safety_number: "1".into(), host: false };
        tell(&mut board, Report::PeerJoined(joined));
        let stats = Stats { peer: Some(ALICE), name: "alice".into(), path: Some("direct"), ..Stats::default() };
        tell(&mut board, Report::Stats(stats));
        let heard = MouthToEar { peer: Some(ALICE), name: "alice".into(), total_ms: 61.0, ..MouthToEar::default() };
        tell(&mut board, Report::MouthToEar(heard));
        board
    }

    fn tell(board: &mut Board, report: Report) {
        board.take(Told { report, at: None });
    }

    fn screen(board: &Board, typed: &str, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, board, typed)).unwrap();
        terminal.backend().to_string()
    }
}
