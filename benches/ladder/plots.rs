//! A picture for each rung: rate, delay and standing still over time.

use std::error::Error;
use std::fs;
use std::ops::Range;

use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::PathElement;
use plotters::prelude::SVGBackend;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, WHITE};

use crate::call::{Outcome, Second};
use crate::options::Contender;
use crate::rungs::Rung;
use crate::table::Table;

/// Draws `plots/RUNG.svg`.
pub(crate) fn draw(rung: &Rung, table: &Table) -> Result<(), Box<dyn Error>> {
    let Some(outcomes) = table.outcomes(rung) else { return Ok(()) };
    fs::create_dir_all(FOLDER)?;
    let path = format!("{FOLDER}/{}.svg", rung.name);
    let root = SVGBackend::new(&path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let span_s = 0.0..table.plan().span.as_secs_f64();
    let areas = root.titled(rung.title, ("sans-serif", 18))?.split_evenly((CURVES.len(), 1));
    for (area, curve) in areas.iter().zip(CURVES) {
        let lines: Vec<Line> =
            outcomes.iter().map(|(contender, outcome)| Line::new(*contender, outcome, curve)).collect();
        draw_curves(area, curve, span_s.clone(), &lines)?;
    }
    root.present()?;
    Ok(())
}

/// What is drawn: a name, and the figure of a second after another.
#[derive(Clone, Copy)]
struct Curve {
    name: &'static str,
    of: fn(&Second, &Second) -> Option<f64>,
    /// So that hardly anything does not look like a lot.
    least_top: f64,
}

/// One contender's curve.
struct Line {
    contender: Contender,
    points: Vec<(f64, f64)>,
}

impl Line {
    fn new(contender: Contender, outcome: &Outcome, curve: Curve) -> Self {
        let pairs = outcome.seconds.iter().zip(outcome.seconds.iter().skip(1));
        let points = pairs.filter_map(|(last, second)| Some((second.at_s, (curve.of)(last, second)?)));
        Line { contender, points: points.collect() }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw_curves(area: &Area<'_>, curve: Curve, span_s: Range<f64>, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let top = values.fold(curve.least_top, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area);
    let mut chart = chart.margin(8).x_label_area_size(22).y_label_area_size(60).build_cartesian_2d(span_s, 0.0..top)?;
    chart.configure_mesh().max_light_lines(0).y_desc(curve.name).y_labels(5).draw()?;
    for line in lines {
        let colour = colour(line.contender);
        let series = chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        let key = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
        series.label(line.contender.name()).legend(key);
    }
    let labels = &mut chart.configure_series_labels();
    let labels = labels.position(SeriesLabelPosition::UpperRight).background_style(WHITE.mix(0.8));
    labels.border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}

fn colour(contender: Contender) -> RGBColor {
    match contender {
        Contender::Meipo => RGBColor(0, 114, 178),
        Contender::Chromium => RGBColor(213, 94, 0),
        Contender::StreamPerGop => RGBColor(0, 158, 115),
    }
}

const CURVES: [Curve; 4] = [
    Curve { name: "media, kbit/s", of: |_, second| Some(second.report.received_kbps), least_top: 100.0 },
    Curve { name: "capture to play, ms", of: |_, second| second.report.latency_ms, least_top: 100.0 },
    Curve {
        name: "standing still, ms in a second",
        of: |last, second| Some(second.report.freeze_ms_total - last.report.freeze_ms_total),
        least_top: 500.0,
    },
    Curve {
        name: "invented sound, ms in a second",
        of: |last, second| Some(second.report.concealed_ms_total? - last.report.concealed_ms_total?),
        least_top: 100.0,
    },
];

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ladder/plots");
const SIZE: (u32, u32) = (900, 900);
