//! Asks the API, once a second, what the screen needs, and lets it do what a person decided.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use tidegate_api::{Overview, Series};
use tidegate_model::clock::{SharedClock, timeout};
use tidegate_model::error::ErrorCode;

use crate::api::page::percent_encode;
use crate::cli::overview;
use crate::cli::target::Target;
use crate::cli::top::detail::{Detail, Question};
use crate::cli::top::state::{Act, Answer, Wanted};
use crate::client::{Connection, Refusal, understood};
use crate::failure::Failure;

/// How often the API is asked.
const EACH: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far back courses go.
const COURSE_SECONDS: u32 = 300;

/// Asks the API.
pub(super) struct Feed {
    target: Target,
    clock: SharedClock,
    /// The server that answered last. One that comes back may be somewhere else.
    connected: Option<(Connection, String)>,
}

impl Feed {
    /// Finds the server; its address, and how everything stands there.
    ///
    /// # Errors
    /// When no server runs, or it does not tell how everything stands.
    pub(super) async fn open(
        target: Target,
        clock: SharedClock,
    ) -> Result<(Self, String, Overview), Failure> {
        let mut feed = Self { target, clock, connected: None };
        let (server, overview) = feed.overview().await?;
        Ok((feed, server, overview))
    }

    /// Asks until nobody listens any more.
    pub(super) async fn run(
        mut self,
        mut wanted: watch::Receiver<Wanted>,
        mut acts: mpsc::Receiver<Act>,
        answers: mpsc::Sender<Answer>,
    ) {
        loop {
            let now_wanted = wanted.borrow_and_update().clone();
            let answer = match self.ask(&now_wanted).await {
                Ok(answer) => answer,
                Err(failure) => {
                    self.connected = None;
                    Answer::Lost(said(&failure))
                }
            };
            if answers.send(answer).await.is_err() {
                return;
            }
            tokio::select! {
                () = self.clock.sleep(EACH) => {}
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                act = acts.recv() => {
                    let Some(act) = act else { return };
                    let acted = self.act(act).await;
                    if answers.send(Answer::Acted(acted)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn ask(&mut self, wanted: &Wanted) -> Result<Answer, Failure> {
        let (server, overview) = self.overview().await?;
        let series = self.series(&wanted.series).await?;
        let detail = match &wanted.question {
            Some(question) => Some((question.clone(), self.detail(question, &overview).await?)),
            None => None,
        };
        Ok(Answer::Told { overview: Box::new(overview), series, detail, server })
    }

    async fn overview(&mut self) -> Result<(String, Overview), Failure> {
        if self.connected.is_none() {
            self.connected = Some(self.target.connect_to_server()?);
        }
        let body = self.get(overview::PATH).await?;
        let server = self.connected.as_ref().map_or_else(String::new, |(_, server)| server.clone());
        Ok((server, understood(&body)?))
    }

    /// The courses; none where the server does not tell them.
    async fn series(&self, names: &[String]) -> Result<BTreeMap<String, Vec<Option<f64>>>, Failure> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names: Vec<String> = names.iter().map(|name| format!("name={}", percent_encode(name))).collect();
        let path = format!("/api/v1/series?{}&seconds={COURSE_SECONDS}", names.join("&"));
        match self.get(&path).await {
            // A picture that is missing hides nothing else.
            Ok(body) => Ok(understood::<Series>(&body)
                .map(|answer| answer.series.into_iter().map(|course| (course.name, course.points)).collect())
                .unwrap_or_default()),
            Err(refusal) if refusal.answered => Ok(BTreeMap::new()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// What the screen needs, or why the server refuses it.
    async fn detail(
        &self,
        question: &Question,
        overview: &Overview,
    ) -> Result<Result<Detail, String>, Failure> {
        match self.get(&question.path(overview)).await {
            Ok(body) => Ok(question.understand(&body).map_err(|failure| said(&failure))),
            Err(refusal) if refusal.answered => Ok(Err(said(&refusal.failure))),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn act(&self, act: Act) -> Result<String, String> {
        let Some((connection, _)) = &self.connected else {
            return Err("nothing was done: the server does not answer".to_owned());
        };
        match timeout(&*self.clock, PATIENCE, connection.post_json(&act.path, &act.request)).await {
            Some(Ok(_)) => Ok(act.done),
            Some(Err(refusal)) => Err(said(&refusal.failure)),
            None => Err("there was no answer: whether it was done is not known".to_owned()),
        }
    }

    async fn get(&self, path: &str) -> Result<bytes::Bytes, Refusal> {
        let late = || {
            let message = format!("no answer within {} s", PATIENCE.as_secs());
            Refusal::from(Failure::new(ErrorCode::SERVER_UNREACHABLE, message))
        };
        let (connection, _) = self.connected.as_ref().ok_or_else(late)?;
        let response = timeout(&*self.clock, PATIENCE, connection.get(path)).await.ok_or_else(late)?;
        Ok(response?.into_body())
    }
}

/// A failure in a line.
fn said(failure: &Failure) -> String {
    let messages: Vec<&str> = failure.problems.iter().map(|problem| problem.message.as_str()).collect();
    messages.join("; ")
}
