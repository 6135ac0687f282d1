//! Figures over time, as an SVG picture.

use std::fmt::Write as _;

const LEFT: f64 = 80.0;
const WIDTH: f64 = 690.0;
const HEIGHT: f64 = 110.0;
const STEP: f64 = 160.0;

/// One figure over time.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// What it is of, with its unit.
    pub label: String,
    /// Minutes and values, in order.
    pub points: Vec<(f64, f64)>,
}

/// Curves below each other, each from 0 to its highest value, over the same time. `marks` are moments that all of them
/// show.
#[must_use]
pub fn curves(title: &str, curves: &[Curve], marks: &[f64]) -> String {
    let end = curves
        .iter()
        .flat_map(|curve| curve.points.last())
        .map(|(minute, _)| *minute)
        .fold(f64::MIN_POSITIVE, f64::max);
    let height = 70.0 + STEP * curves.len() as f64;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{height}" font-family="sans-serif" font-size="13">
<rect width="800" height="{height}" fill="#ffffff"/>
<text x="10" y="22" font-size="15" fill="#111111">{title}</text>
"##
    );
    let x = |minute: f64| LEFT + WIDTH * minute / end;
    for (number, curve) in curves.iter().enumerate() {
        let top = 56.0 + STEP * number as f64;
        let bottom = top + HEIGHT;
        let highest = curve
            .points
            .iter()
            .map(|(_, value)| *value)
            .fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(
            svg,
            r##"<text x="{LEFT}" y="{y}" fill="#111111">{label}</text><path d="M{LEFT} {top}V{bottom}H{right}" fill="none" stroke="#888888"/><text x="{text}" y="{above:.1}" text-anchor="end" fill="#111111">{highest:.0}</text><text x="{text}" y="{bottom}" text-anchor="end" fill="#111111">0</text>"##,
            y = top - 6.0,
            label = curve.label,
            right = LEFT + WIDTH,
            text = LEFT - 6.0,
            above = top + 10.0,
        );
        for mark in marks {
            let at = x(*mark);
            let _ = writeln!(
                svg,
                r##"<path d="M{at:.1} {top}V{bottom}" stroke="#bb5555" stroke-dasharray="3 3"/>"##
            );
        }
        let mut path = String::new();
        for (place, (minute, value)) in curve.points.iter().enumerate() {
            let letter = if place == 0 { 'M' } else { 'L' };
            let y = bottom - HEIGHT * value / highest;
            let _ = write!(path, "{letter}{:.1} {y:.1}", x(*minute));
        }
        let _ = writeln!(
            svg,
            r##"<path d="{path}" fill="none" stroke="#3b6ea5" stroke-width="1.5"/>"##
        );
    }
    let bottom = height - 16.0;
    for fifth in 0..=5_u8 {
        let minute = end * f64::from(fifth) / 5.0;
        let _ = writeln!(
            svg,
            r##"<text x="{:.1}" y="{bottom}" text-anchor="middle" fill="#111111">{minute:.1} min</text>"##,
            x(minute)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_left_to_right_and_its_highest_value_is_on_top() {
        let curve = Curve {
            label: "memory, MB".into(),
            points: vec![(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)],
        };
        let svg = curves("soak", &[curve], &[5.0]);
        assert!(svg.contains("M80.0 166.0L425.0 111.0L770.0 56.0"), "{svg}");
        assert!(svg.contains("M425.0 56V166"));
    }
}
