//! What a client would like to get, by its Accept header.

/// Whether JSON is accepted, and a page not more so.
pub(super) fn prefers_json(accept: &str) -> bool {
    let json = rank(accept, "application/json");
    json < usize::MAX && json <= rank(accept, "text/html")
}

/// The place of a media type among those which the client accepts, the best being 0.
pub(super) fn rank(accept: &str, wanted: &str) -> usize {
    let (wanted_type, _) = wanted.split_once('/').unwrap_or_default();
    let mut ranges: Vec<(f32, bool, &str)> = accept
        .split(',')
        .map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            (quality.unwrap_or(1.0), media.ends_with("/*"), media)
        })
        .collect();
    ranges.sort_by(|one, other| {
        let by_quality = other.0.total_cmp(&one.0);
        by_quality.then(one.1.cmp(&other.1))
    });
    ranges
        .iter()
        .position(|&(_, _, media)| {
            media == wanted
                || media == "*/*"
                || media.strip_suffix("/*").is_some_and(|of| of == wanted_type)
        })
        .unwrap_or(usize::MAX)
}
