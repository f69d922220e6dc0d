//! Places on the earth as a picture: land, a grid of degrees, and points. Nothing is loaded from elsewhere: the coasts are
//! those of Natural Earth at 1:110 000 000 (public domain), taken from world-atlas 2.0.2, to a tenth of a degree.

use std::fmt::Write as _;
use std::sync::LazyLock;

use maud::{Markup, html};

/// One coast a line, as `longitude,latitude` in tenths of a degree.
static COASTS: LazyLock<Vec<Vec<(f64, f64)>>> = LazyLock::new(|| {
    let number = |text: &str| text.parse::<f64>().map(|tenths| tenths / 10.0).ok();
    let place = |pair: &str| pair.split_once(',').and_then(|(x, y)| Some((number(x)?, number(y)?)));
    include_str!("../../assets/land.txt")
        .lines()
        .map(|line| line.split(' ').filter_map(place).collect())
        .collect()
});

/// The most points that are drawn.
pub const MAX_POINTS: usize = 2000;

/// The size of the picture in its own units; the width follows from what it shows.
const HEIGHT: f64 = 360.0;

/// A place.
#[derive(Clone, Debug)]
pub struct Place {
    /// In degrees, east is positive.
    pub longitude: f64,
    /// In degrees, north is positive.
    pub latitude: f64,
    /// What is there.
    pub name: String,
    /// Where it leads.
    pub address: Option<String>,
}

/// What the picture shows, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    west: f64,
    south: f64,
    east: f64,
    north: f64,
}

/// Reads a place out of the members of a document: `latitude` and `longitude`, `lat` and `lon` or `lng`, at the top or
/// inside `position` or `location`.
pub fn place_in(document: &serde_json::Value) -> Option<(f64, f64)> {
    let inner = ["position", "location"].into_iter().filter_map(|name| document.get(name));
    std::iter::once(document).chain(inner).find_map(|value| {
        let of = |names: &[&str]| names.iter().find_map(|name| value.get(*name)?.as_f64());
        valid(of(&["latitude", "lat"])?, of(&["longitude", "lon", "lng"])?)
    })
}

/// A latitude and a longitude that are on the earth.
pub fn valid(latitude: f64, longitude: f64) -> Option<(f64, f64)> {
    ((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude))
        .then_some((latitude, longitude))
}

/// The places on a map; with a line through them in their order where `track` is set. Nothing where there are none.
pub fn map(title: &str, places: &[Place], track: bool) -> Markup {
    let shown = &places[..places.len().min(MAX_POINTS)];
    let Some(view) = View::around(shown) else { return html! {} };
    let (width, scale) = view.size();
    let at = |longitude: f64, latitude: f64| {
        ((longitude - view.west) * scale.0, (view.north - latitude) * scale.1)
    };
    let step = view.step();
    let radius = if shown.len() > 300 { 2.0 } else { 3.5 };
    let line: String = shown.iter().enumerate().fold(String::new(), |mut d, (nth, place)| {
        let (x, y) = at(place.longitude, place.latitude);
        let _ = write!(d, "{}{x:.1} {y:.1}", if nth == 0 { 'M' } else { 'L' });
        d
    });
    html! {
        figure class="map" {
            svg viewBox={ "0 0 " (format!("{width:.1}")) " " (HEIGHT) } role="group"
                aria-label={ (title) ": " (crate::text::counted(shown.len() as u64, "place", "places")) } {
                path class="land" d=(land(&view, at)) {}
                @for longitude in lines(view.west, view.east, step) {
                    @let x = at(longitude, 0.0).0;
                    path class="degree" d={ "M" (format!("{x:.1}")) " 0V" (HEIGHT) } {}
                    text x=(format!("{:.1}", x + 3.0)) y=(format!("{:.1}", HEIGHT - 4.0)) { (degrees(longitude, step, ["E", "W"])) }
                }
                @for latitude in lines(view.south, view.north, step) {
                    @let y = at(0.0, latitude).1;
                    path class="degree" d={ "M0 " (format!("{y:.1}")) "H" (format!("{width:.1}")) } {}
                    text x="3" y=(format!("{:.1}", y - 3.0)) { (degrees(latitude, step, ["N", "S"])) }
                }
                @if track && shown.len() > 1 { path class="track" d=(line) {} }
                @for place in shown {
                    @let (x, y) = at(place.longitude, place.latitude);
                    @let dot = html! { circle cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r=(radius) { title { (place.name) } } };
                    @match &place.address {
                        Some(address) => a href=(address) aria-label=(place.name) { (dot) },
                        None => (dot),
                    }
                }
            }
            figcaption class="small" {
                (crate::text::counted(places.len() as u64, "place", "places"))
                @if shown.len() < places.len() { ", of which the first " (crate::text::count(shown.len() as u64)) " are drawn" }
                ". Coasts: Natural Earth, coarse."
            }
        }
    }
}

impl View {
    /// All places with some room around them; `None` without places.
    fn around(places: &[Place]) -> Option<Self> {
        let first = places.first()?;
        let mut view = Self {
            west: first.longitude,
            east: first.longitude,
            south: first.latitude,
            north: first.latitude,
        };
        for place in places {
            view.west = view.west.min(place.longitude);
            view.east = view.east.max(place.longitude);
            view.south = view.south.min(place.latitude);
            view.north = view.north.max(place.latitude);
        }
        // At least some kilometres, so that what stands still is not drawn larger than life.
        let room = |low: f64, high: f64| ((high - low) * 0.12).max(0.05);
        let (x, y) = (room(view.west, view.east), room(view.south, view.north));
        (view.west, view.east, view.south, view.north) =
            (view.west - x, view.east + x, view.south - y, view.north + y);
        // Neither a stripe nor a pillar: from 1:1 to 2.4:1 as it is drawn.
        let stretch = view.stretch();
        let (wide, high) = ((view.east - view.west) * stretch, view.north - view.south);
        let (middle_x, middle_y) =
            (f64::midpoint(view.west, view.east), f64::midpoint(view.south, view.north));
        if wide < high * 1.6 {
            let half = high * 1.6 / stretch / 2.0;
            (view.west, view.east) = (middle_x - half, middle_x + half);
        } else if wide > high * 2.4 {
            let half = wide / 2.4 / 2.0;
            (view.south, view.north) = (middle_y - half, middle_y + half);
        }
        Some(Self {
            west: view.west.max(-180.0),
            east: view.east.min(180.0),
            south: view.south.max(-90.0),
            north: view.north.min(90.0),
        })
    }

    /// How much narrower a degree of longitude is than one of latitude, in the middle.
    fn stretch(&self) -> f64 {
        f64::midpoint(self.south, self.north).to_radians().cos().max(0.2)
    }

    /// The width of the picture, and its units in a degree.
    fn size(&self) -> (f64, (f64, f64)) {
        let vertical = HEIGHT / (self.north - self.south);
        let horizontal = vertical * self.stretch();
        ((self.east - self.west) * horizontal, (horizontal, vertical))
    }

    /// How far the lines of the grid are apart.
    fn step(&self) -> f64 {
        let span = (self.east - self.west).max(self.north - self.south);
        let steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
        steps.into_iter().find(|step| span / step <= 8.0).unwrap_or(45.0)
    }
}

/// The coasts that are in view.
fn land(view: &View, at: impl Fn(f64, f64) -> (f64, f64)) -> String {
    let mut d = String::new();
    for coast in COASTS.iter() {
        let bounds = |pick: fn(&(f64, f64)) -> f64| {
            coast
                .iter()
                .map(pick)
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        };
        let ((west, east), (south, north)) = (bounds(|place| place.0), bounds(|place| place.1));
        if east < view.west || west > view.east || north < view.south || south > view.north {
            continue;
        }
        for (nth, (longitude, latitude)) in coast.iter().enumerate() {
            let (x, y) = at(*longitude, *latitude);
            let _ = write!(d, "{}{x:.0} {y:.0}", if nth == 0 { 'M' } else { 'L' });
        }
        d.push('Z');
    }
    d
}

fn lines(from: f64, to: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last).take(40).map(|nth| nth as f64 * step).collect()
}

fn degrees(value: f64, step: f64, [plus, minus]: [&str; 2]) -> String {
    let digits = if step < 0.1 { 2 } else { usize::from(step < 1.0) };
    let side = if value.abs() < step / 2.0 {
        ""
    } else if value > 0.0 {
        plus
    } else {
        minus
    };
    format!("{:.digits$}°{side}", value.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place { longitude, latitude, name: "<b>".to_owned(), address: None }
    }

    #[test]
    fn places_are_found_where_documents_have_them() {
        let of = |json: &str| place_in(&serde_json::from_str(json).unwrap());
        assert_eq!(of(r#"{"latitude":48.7,"longitude":9.1}"#), Some((48.7, 9.1)));
        assert_eq!(of(r#"{"position":{"lat":48.7,"lng":-9}}"#), Some((48.7, -9.0)));
        assert_eq!(of(r#"{"latitude":120,"longitude":9.1}"#), None);
        assert_eq!(of(r#"{"latitude":"48","longitude":9.1}"#), None);
    }

    #[test]
    fn every_place_is_in_view_and_the_view_is_on_the_earth() {
        for places in [
            vec![place(48.7, 9.1)],
            vec![place(-90.0, -180.0), place(90.0, 180.0)],
            vec![place(0.0, -100.0), place(0.1, 100.0)],
            vec![place(-40.0, 1.0), place(60.0, 1.1)],
        ] {
            let view = View::around(&places).unwrap();
            assert!(view.west >= -180.0 && view.east <= 180.0 && view.south >= -90.0 && view.north <= 90.0);
            for place in &places {
                assert!((view.west..=view.east).contains(&place.longitude), "{view:?}");
                assert!((view.south..=view.north).contains(&place.latitude), "{view:?}");
            }
            let (width, _) = view.size();
            assert!(width.is_finite() && width > 100.0, "{width}");
        }
        assert!(View::around(&[]).is_none());
    }

    #[test]
    fn a_map_has_land_a_grid_and_points_and_names_are_text() {
        let html = map("Aircraft", &[place(48.7, 9.1), place(52.5, 13.4)], true).into_string();
        assert!(html.contains("class=\"land\" d=\"M") && html.contains("class=\"degree\""), "{html}");
        assert_eq!(html.matches("<circle").count(), 2);
        assert!(html.contains("&lt;b&gt;") && html.contains("50°N"), "{html}");
        assert_eq!(map("x", &[], true).into_string(), "");
    }
}
