//! Several rounds of the same contest. The contestants take turns, so that other load on the
//! machine affects all of them.

/// Runs each contestant once in every round. Returns the results by contestant and round.
pub fn interleaved<T, E, const N: usize>(
    rounds: usize,
    mut contestants: [&mut dyn FnMut() -> Result<T, E>; N],
) -> Result<[Vec<T>; N], E> {
    let mut found = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (contestant, found) in contestants.iter_mut().zip(&mut found) {
            found.push(contestant()?);
        }
    }
    Ok(found)
}

/// The median of the ratios of the first to the second.
pub fn median_ratio(one: &[f64], other: &[f64]) -> f64 {
    median(one.iter().zip(other).map(|(one, other)| one / other))
}

pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&mut values.into_iter().collect::<Vec<_>>(), 50)
}

/// The given percentile; 0 if there are no values.
pub fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied().unwrap_or_default()
}

pub fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
