//! What a person reads of it.

use serde_json::json;

use super::{AtFullSpeed, AtRate, Measured};
use crate::bench::report::median;

/// Shows that something goes on.
pub(super) fn round_at_rate(round: usize, tabs: usize, measured: Option<&AtRate>) {
    let Some(AtRate { nobody, one_person, as_many_people, .. }) = measured else { return };
    println!(
        "  round {:<3} nobody {:.3} cores, {tabs} tabs {:.3}, {tabs} people {:.3}",
        round + 1,
        nobody,
        one_person,
        as_many_people
    );
}

pub(super) fn tell(json: bool, measured: &Measured) -> anyhow::Result<()> {
    let tabs = measured.tabs.max(1) as f64;
    let at_rate = |of: fn(&AtRate) -> f64| median(measured.at_rate.iter().map(of));
    let full = |of: fn(&AtFullSpeed) -> f64| median(measured.at_full_speed.iter().map(of));
    let nobody = at_rate(|round| round.nobody);
    // Differences within a round: what else the machine did then is in both.
    let one_person = at_rate(|round| round.one_person - round.nobody);
    let people = at_rate(|round| round.as_many_people - round.nobody);
    let wall = full(|round| round.one_person.wall_s / round.nobody.wall_s);
    let cpu = full(|round| round.one_person.cpu_us / round.nobody.cpu_us);
    if json {
        let summary = json!({
            "benchmark": "console",
            "cpu_cores": nobody,
            "cpu_percent_of_a_core_per_tab": one_person / tabs * 100.0,
            "cpu_percent_of_a_core_per_person": people / tabs * 100.0,
            "full_speed_wall_ratio": wall,
            "full_speed_cpu_ratio": cpu,
            "measured": measured,
        });
        println!("{summary}");
        return Ok(());
    }
    let tabs_open = measured.tabs;
    println!("\nat {} events/s", measured.events_per_s);
    println!("  nobody looks           {nobody:>8.3} cores");
    println!(
        "  {tabs_open} tabs of one person   {:>+8.2} % of a core for each, {:.1} kB/s to each",
        one_person / tabs * 100.0,
        at_rate(|round| round.tab_bytes_per_s) / 1000.0
    );
    println!("  {tabs_open} people with a tab    {:>+8.2} % of a core for each", people / tabs * 100.0);
    println!("at full speed");
    println!(
        "  nobody looks           {:>8.2} s {:>8.2} µs/event",
        full(|round| round.nobody.wall_s),
        full(|round| round.nobody.cpu_us)
    );
    println!(
        "  {tabs_open} tabs of one person   {:>8.2} s {:>8.2} µs/event",
        full(|round| round.one_person.wall_s),
        full(|round| round.one_person.cpu_us)
    );
    println!(
        "  change                 {:>+8.1} % of time, {:+.1} % of CPU",
        (wall - 1.0) * 100.0,
        (cpu - 1.0) * 100.0
    );
    Ok(())
}
