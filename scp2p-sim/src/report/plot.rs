//! Plots as SVG within HTML: lines, steps and bars over two axes. Colours are classes `c1` to `c4`
//! of the page's style, so that a plot follows the page into the dark.

use std::fmt::Write;

use super::axis::{Axis, step_of};
use super::html::escape;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 38.0;
/// Steps of a cumulative distribution, at most; more than can be seen.
const STEPS_MAX: usize = 250;

/// A plot with its title and legend.
pub(super) struct Figure {
    /// What it shows.
    pub title: &'static str,
    /// What one must know to read it; may be empty.
    pub note: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, the first at the back.
    pub series: Vec<Series>,
    /// A moment that matters, with a word on it.
    pub mark: Option<(f64, &'static str)>,
}

/// Something drawn in one colour.
pub(super) struct Series {
    /// What it is, for the legend.
    pub name: &'static str,
    /// How it is drawn.
    pub shape: Shape,
}

/// How something is drawn.
pub(super) enum Shape {
    /// Lines from point to point, interrupted where there is no number.
    Line(Vec<(f64, Option<f64>)>),
    /// The same over a tinted area.
    Area(Vec<(f64, Option<f64>)>),
    /// A number that stays until the next point.
    Steps(Vec<(f64, f64)>),
    /// Bars.
    Bars(Vec<Bar>),
}

/// A bar from one height to another.
pub(super) struct Bar {
    /// Where it begins and ends on the horizontal axis.
    pub x: [f64; 2],
    /// Where it begins and ends on the vertical axis.
    pub y: [f64; 2],
    /// What it tells when it is pointed at.
    pub tip: String,
}

/// The part of the numbers up to each of them, in percent, as points for [`Shape::Steps`];
/// the numbers are in order. None if there are none.
pub(super) fn cumulative(sorted: &[u64]) -> Vec<(f64, f64)> {
    let count = sorted.len();
    let steps = count.min(STEPS_MAX);
    (1..=steps)
        .filter_map(|step| {
            let rank = (step * count).div_ceil(steps);
            let number = *sorted.get(rank - 1)?;
            Some((number as f64, 100.0 * rank as f64 / count as f64))
        })
        .collect()
}

impl Figure {
    /// The plot as a `figure` element.
    pub fn html(self) -> String {
        let mut out = format!("<figure>\n<figcaption><h3>{}</h3>", escape(self.title));
        if self.series.len() > 1 {
            out.push_str("<ul class=\"legend\">");
            for (at, series) in self.series.iter().enumerate() {
                write_to(
                    &mut out,
                    format_args!("<li class=\"{}\">{}</li>", class(at), escape(series.name)),
                );
            }
            out.push_str("</ul>");
        }
        if !self.note.is_empty() {
            write_to(&mut out, format_args!("<p>{}</p>", escape(&self.note)));
        }
        write_to(
            &mut out,
            format_args!(
                "</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
                escape(self.title)
            ),
        );
        if self.series.iter().all(Series::is_empty) {
            write_to(
                &mut out,
                format_args!(
                    "<text class=\"nothing\" x=\"{}\" y=\"{}\">nothing to show</text>\n",
                    WIDTH / 2.0,
                    HEIGHT / 2.0
                ),
            );
        } else {
            Canvas::new(self.x, self.y).draw(&mut out, &self.series, self.mark);
        }
        out.push_str("</svg>\n</figure>\n");
        out
    }
}

impl Series {
    /// The highest number that it shows; zero if there is none.
    pub fn highest(&self) -> f64 {
        match &self.shape {
            Shape::Line(points) | Shape::Area(points) => points
                .iter()
                .filter_map(|(_, number)| *number)
                .fold(0.0, f64::max),
            Shape::Steps(points) => points.iter().map(|(_, number)| *number).fold(0.0, f64::max),
            Shape::Bars(bars) => bars.iter().map(|bar| bar.y[1]).fold(0.0, f64::max),
        }
    }

    fn is_empty(&self) -> bool {
        match &self.shape {
            Shape::Line(points) | Shape::Area(points) => {
                points.iter().all(|(_, number)| number.is_none())
            }
            Shape::Steps(points) => points.is_empty(),
            Shape::Bars(bars) => bars.is_empty(),
        }
    }
}

/// The area of a plot.
struct Canvas {
    x: Axis,
    y: Axis,
    x_ticks: Vec<f64>,
    y_ticks: Vec<f64>,
}

impl Canvas {
    fn new(x: Axis, y: Axis) -> Canvas {
        let (x, x_ticks) = x.ticks();
        let (y, y_ticks) = y.ticks();
        Canvas {
            x,
            y,
            x_ticks,
            y_ticks,
        }
    }

    fn draw(&self, out: &mut String, series: &[Series], mark: Option<(f64, &str)>) {
        self.draw_grid(out);
        for (at, series) in series.iter().enumerate() {
            write_to(out, format_args!("<g class=\"{}\">\n", class(at)));
            match &series.shape {
                Shape::Line(points) => self.draw_line(out, points, false),
                Shape::Area(points) => self.draw_line(out, points, true),
                Shape::Steps(points) => self.draw_steps(out, points),
                Shape::Bars(bars) => self.draw_bars(out, bars),
            }
            out.push_str("</g>\n");
        }
        if let Some((at, word)) = mark {
            self.draw_mark(out, at, word);
        }
    }

    fn across(&self, number: f64) -> f64 {
        LEFT + self.x.part(number) * (WIDTH - LEFT - RIGHT)
    }

    fn up(&self, number: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.part(number) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw_grid(&self, out: &mut String) {
        let right = WIDTH - RIGHT;
        let floor = HEIGHT - BOTTOM;
        for tick in &self.y_ticks {
            let y = self.up(*tick);
            let text = self.y.tick_text(*tick, step_of(&self.y_ticks));
            write_to(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\"/>\
                     <text class=\"tick left\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                    LEFT - 8.0,
                    y + 3.5,
                    escape(&text)
                ),
            );
        }
        write_to(
            out,
            format_args!(
                "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{floor}\" x2=\"{right}\" y2=\"{floor}\"/>\n"
            ),
        );
        for tick in &self.x_ticks {
            let x = self.across(*tick);
            let text = self.x.tick_text(*tick, step_of(&self.x_ticks));
            write_to(
                out,
                format_args!(
                    "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{floor}\" x2=\"{x:.1}\" y2=\"{}\"/>\
                     <text class=\"tick\" x=\"{x:.1}\" y=\"{}\">{}</text>\n",
                    floor + 4.0,
                    floor + 16.0,
                    escape(&text)
                ),
            );
        }
        write_to(
            out,
            format_args!(
                "<text class=\"label right\" x=\"{right}\" y=\"{}\">{}</text>\n",
                HEIGHT - 6.0,
                escape(self.x.label)
            ),
        );
    }

    fn draw_line(&self, out: &mut String, points: &[(f64, Option<f64>)], tinted: bool) {
        for run in points.split(|(_, number)| number.is_none()) {
            let place = |(x, y): &(f64, Option<f64>)| {
                let y = (*y)?;
                Some((self.across(*x), self.up(y)))
            };
            let places: Vec<(f64, f64)> = run.iter().filter_map(place).collect();
            match places.as_slice() {
                [] => {}
                [(x, y)] => write_to(
                    out,
                    format_args!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>\n"),
                ),
                [(first, _), .., (last, _)] => {
                    let line = path(&places);
                    if tinted {
                        let floor = HEIGHT - BOTTOM;
                        write_to(
                            out,
                            format_args!(
                                "<path class=\"tint\" d=\"{line}L{last:.1} {floor}L{first:.1} {floor}Z\"/>\n"
                            ),
                        );
                    }
                    write_to(out, format_args!("<path class=\"line\" d=\"{line}\"/>\n"));
                }
            }
        }
    }

    fn draw_steps(&self, out: &mut String, points: &[(f64, f64)]) {
        let Some((first, _)) = points.first() else {
            return;
        };
        let mut places = vec![(self.across(*first), self.up(self.y.low))];
        for (x, y) in points {
            let before = places.last().map_or(0.0, |(_, y)| *y);
            places.push((self.across(*x), before));
            places.push((self.across(*x), self.up(*y)));
        }
        if let Some((_, y)) = points.last() {
            places.push((WIDTH - RIGHT, self.up(*y)));
        }
        places.dedup();
        write_to(
            out,
            format_args!("<path class=\"line\" d=\"{}\"/>\n", path(&places)),
        );
    }

    fn draw_bars(&self, out: &mut String, bars: &[Bar]) {
        for bar in bars {
            let [left, right] = bar.x.map(|x| self.across(x));
            let [low, high] = bar.y.map(|y| self.up(y));
            write_to(
                out,
                format_args!(
                    "<rect class=\"bar\" x=\"{left:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
                     <title>{}</title></rect>\n",
                    (right - left).max(0.5),
                    (low - high).max(0.0),
                    escape(&bar.tip)
                ),
            );
        }
    }

    fn draw_mark(&self, out: &mut String, at: f64, word: &str) {
        let x = self.across(at);
        let (side, gap) = if x > WIDTH / 2.0 {
            (" right", -6.0)
        } else {
            (" start", 6.0)
        };
        write_to(
            out,
            format_args!(
                "<line class=\"mark\" x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{}\"/>\
                 <text class=\"label{side}\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
                HEIGHT - BOTTOM,
                x + gap,
                HEIGHT - BOTTOM - 6.0,
                escape(word)
            ),
        );
    }
}

fn path(places: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in places.iter().enumerate() {
        let verb = if at == 0 { 'M' } else { 'L' };
        write_to(&mut path, format_args!("{verb}{x:.1} {y:.1}"));
    }
    path
}

fn class(at: usize) -> String {
    format!("c{}", at % 4 + 1)
}

fn write_to(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text)
        .expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::super::axis::Unit;
    use super::super::html::complaint;
    use super::*;

    fn figure(shape: Shape) -> Figure {
        Figure {
            title: "A & B",
            note: "<none>".to_owned(),
            x: Axis::time(7_200_000_000.0),
            y: Axis::up_to("things", Unit::Count, 7.0),
            series: vec![Series { name: "all", shape }],
            mark: None,
        }
    }

    #[test]
    fn a_plot_without_numbers_says_so_and_one_number_is_a_dot() {
        for empty in [
            Shape::Line(vec![]),
            Shape::Area(vec![(1.0, None), (2.0, None)]),
            Shape::Steps(cumulative(&[])),
            Shape::Bars(vec![]),
        ] {
            let html = figure(empty).html();
            assert_eq!(complaint(&html), None);
            assert!(html.contains("nothing to show"));
            assert!(!html.contains("class=\"grid\""));
        }
        let html = figure(Shape::Line(vec![(3.6e9, Some(3.5))])).html();
        assert_eq!(complaint(&html), None);
        // Half way right, and three and a half of eight upwards.
        assert!(
            html.contains("<circle class=\"dot\" cx=\"344.0\" cy=\"118.9\" r=\"2.5\"/>"),
            "{html}"
        );
    }

    #[test]
    fn a_line_is_interrupted_where_there_is_no_number() {
        let points = [
            Some(1.0),
            Some(2.0),
            None,
            Some(2.0),
            Some(9.0),
            Some(f64::NAN),
        ];
        let points = points
            .iter()
            .enumerate()
            .map(|(at, y)| (at as f64 * 1e9, *y))
            .collect();
        let html = figure(Shape::Area(points)).html();
        assert_eq!(complaint(&html), None);
        assert_eq!(html.matches("class=\"line\"").count(), 2);
        assert!(!html.contains("NaN"), "{html}");
        // What is above the axis is drawn at its end.
        assert!(html.contains(&format!(" {TOP:.1}")), "{html}");
    }

    #[test]
    fn a_distribution_of_many_numbers_has_few_steps_and_ends_at_all() {
        let numbers: Vec<u64> = (1..=100_000).collect();
        let points = cumulative(&numbers);
        assert_eq!(points.len(), STEPS_MAX);
        assert_eq!(points.last(), Some(&(100_000.0, 100.0)));
        assert!(points.is_sorted());
        for (number, percent) in points {
            assert!((percent - number / 1000.0).abs() < 1e-9);
        }
        assert_eq!(cumulative(&[5, 7]), [(5.0, 50.0), (7.0, 100.0)]);
    }
}
