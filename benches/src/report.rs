//! Medians and the table that is printed.

/// The median of some figures; 0 for none.
pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures {
        [] => 0.0,
        _ if figures.len() % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

/// Nanoseconds in a unit that reads well.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.1} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}

/// A row of the table: what was done, the native median, and each runtime's median with its ratio.
pub fn row(name: &str, medians: &[f64]) -> String {
    let native = medians.first().copied().unwrap_or(0.0);
    let mut text = format!("{name:<46} {:>11}", time(native));
    for figure in medians.iter().skip(1) {
        let ratio = if native > 0.0 { figure / native } else { 0.0 };
        text += &format!("  {:>11} {ratio:>7.2} ×", time(*figure));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]).to_bits(), 2.5_f64.to_bits());
        assert_eq!(median(&mut []).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn rows_show_ratios() {
        assert!(row("x", &[100.0, 250.0]).ends_with("2.50 ×"));
    }
}
