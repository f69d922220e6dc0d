//! The console over made-up answers, to look at while working on it: `cargo run -p tidegate-console --example preview`.

#[path = "../tests/it/fixture.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod fixture;

use tidegate_console::{Console, Parts};
use tidegate_model::clock::SystemClock;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8790".to_owned());
    let clock = SystemClock::shared();
    let api = fixture::router(fixture::Fixture::new(clock.clone(), fixture::operator()));
    let console = Console::new(Parts { api, clock, error_pages: fixture::ERROR_PAGES });
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}/", listener.local_addr()?);
    axum::serve(listener, console.router()).await
}
