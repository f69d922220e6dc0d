//! What people do: with dead letters, parked events, circuits, pauses and checkpoints.
//!
//! A person acts on the store, by the same acts as the server's, and the instances are told as the server tells them.

use tidegate_host::circuit::acts::{self, PauseTarget};
use tidegate_host::lane::OwnedLane;
use tidegate_host::settings::Sharing;
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState, PAUSE};
use tidegate_model::clock::Clock;
use tidegate_model::dead_letter::{
    Acted, DeadLetterFilter, DeadLetterId, DeadLetterStatus, StoredDeadLetter,
};
use tidegate_model::parking::StoredParked;
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::RegisterKey;
use tidegate_model::trail::{Act, NewTrailEntry};

use super::World;
use crate::event::{parse, repaired};
use crate::mutation::Mutation;
use crate::oracle::now;
use crate::scenario::Fate;

/// After how many probes that failed a person closes a circuit.
const PROBES_BEFORE_A_PERSON: u32 = 4;

/// How often a person closes a circuit before they look for the events that keep it open.
const CLOSED_IN_VAIN: u32 = 5;

/// What a person did when the store could not say whether it happened.
pub(super) enum Doubt {
    /// Redrove this dead letter, as it was before.
    Redrive(Box<StoredDeadLetter>),
    /// Moved the checkpoint of a lane, which had been moved so often before.
    Seek { lane: Lane, from: SequenceNumber, to: SequenceNumber, moves: usize },
}

impl World {
    /// A person does something, wise or not.
    pub(super) fn let_a_person_act(&mut self) {
        if let Some(disk) = self.disk_of_store()
            && self.syncs.as_mut().is_some_and(|random| random.one_in(3))
        {
            self.trace.note("trouble", format_args!("a sync will fail, as likely as not a person's"));
            disk.fail_sync_after(0);
        }
        match self.random.below(16) {
            0..5 => self.redrive_one(),
            5 => self.discard_one(),
            6 | 7 => self.set_one_aside(),
            8 => self.try_one_now(),
            9..12 => self.pause_or_resume(),
            12 => self.move_a_circuit(),
            _ => self.seek(),
        }
    }

    fn act(&self, reason: &str) -> Act {
        Act { by: "operator".to_owned(), reason: reason.to_owned(), at: self.site_clock.now() }
    }

    fn says(&self, what: std::fmt::Arguments<'_>) {
        self.trace.note("operator", what);
    }

    // --- Dead letters ---------------------------------------------------------------------------------------------------

    fn any_open_dead_letter(&mut self) -> Option<DeadLetterId> {
        let open = DeadLetterFilter { status: vec![DeadLetterStatus::Open], ..DeadLetterFilter::default() };
        let ids = now(self.store.find_dead_letters(&open, None, usize::MAX));
        (!ids.is_empty()).then(|| self.random.pick(&ids))
    }

    /// A person redrives a dead letter, sometimes after repairing its event.
    fn redrive_one(&mut self) {
        let Some(id) = self.any_open_dead_letter() else { return };
        let Some(letter) = now(self.store.dead_letter(id)) else { return };
        let act = self.act("to see");
        if self.random.one_in(3) {
            self.says(format_args!("repairs {id}"));
            let event = repaired(&letter.letter.event.data);
            let (action, subject) = ("dead-letter.edit", id.to_string());
            let entry = NewTrailEntry { action, subject, act: act.clone(), detail: serde_json::Value::Null };
            if self.ask("the repair", self.store.edit(id, letter.revision, &event, entry)).is_none() {
                return;
            }
        }
        let Some(letter) = now(self.store.dead_letter(id)) else { return };
        self.says(format_args!("redrives {id}"));
        match self.ask("the redrive", self.store.redrive(&[id], false, &act)) {
            Some(acted) if acted == [Acted::Done] => {
                self.oracle.redriven(&letter);
                self.oracle.store_synced();
            }
            Some(_) => {}
            None => self.doubts(|| Doubt::Redrive(Box::new(letter))),
        }
        self.tell_of_changes();
    }

    fn discard_one(&mut self) {
        let Some(id) = self.any_open_dead_letter() else { return };
        self.says(format_args!("discards {id}"));
        self.ask("discarding", self.store.discard(&[id], &self.act("not needed")));
        self.tell_of_changes();
    }

    // --- Parked events --------------------------------------------------------------------------------------------------

    fn parked(&self, of: impl Fn(&Lane) -> bool) -> Vec<StoredParked> {
        let lanes = now(self.store.checkpoints()).into_iter().map(|checkpoint| checkpoint.lane);
        lanes
            .filter(of)
            .flat_map(|lane| now(self.store.list_parked(&lane, SequenceNumber::ZERO, usize::MAX)))
            .collect()
    }

    /// A person sets a parked event aside, whether it failed already, waits behind another, or is being tried.
    fn set_one_aside(&mut self) {
        let parked = self.parked(|_| true);
        if !parked.is_empty() {
            let stored = self.random.pick(&parked);
            self.set_aside(&stored, "in the way");
            self.tell_of_changes();
        }
    }

    fn set_aside(&self, stored: &StoredParked, reason: &str) {
        let (lane, number) = (&stored.parked.lane, stored.parked.event.sequence_number);
        self.says(format_args!("sets event {number} of {lane} aside: {reason}"));
        self.ask("setting aside", self.store.set_aside(lane, number, &self.act(reason)));
    }

    fn try_one_now(&mut self) {
        let parked = self.parked(|_| true);
        if !parked.is_empty() {
            let parked = self.random.pick(&parked).parked;
            let number = parked.event.sequence_number;
            self.says(format_args!("has event {number} of {} tried now", parked.lane));
            self.ask("trying now", self.store.try_parked_now(&parked.lane, number, &self.act("to see")));
            self.tell_of_changes();
        }
    }

    // --- Circuits -------------------------------------------------------------------------------------------------------

    fn move_a_circuit(&mut self) {
        let circuits: Vec<FunctionName> = self.scenario.circuits().into_iter().collect();
        let function = self.random.pick(&circuits);
        let act = self.act("to see");
        let word = self.random.pick(&["opens", "closes", "probes"]);
        self.says(format_args!("{word} the circuit of {function}"));
        let acted = match word {
            "opens" => self.ask(word, acts::open(&*self.store, &function, &act)),
            "closes" => self.ask(word, acts::close(&*self.store, &function, &act)),
            _ => self.ask(word, acts::probe_now(&*self.store, &function, &act)),
        };
        if acted.is_some() {
            self.circuit_was_changed(&function);
        }
    }

    fn circuit_was_changed(&mut self, function: &FunctionName) {
        let key = RegisterKey::new(CIRCUIT, function.as_str());
        let register = now(self.store.register(&key));
        self.oracle.register_changed("operator", &key, register.as_ref().map(|register| &register.value));
        self.tell_of_changes();
    }

    /// A person closes circuits that have been open for long: an event that always fails may be the only one to probe with.
    pub(super) fn close_circuits(&mut self) {
        let windows = self.scenario.functions.iter().flat_map(|function| {
            let settings = &function.settings;
            let dependencies = settings.dependencies.iter().map(|dependency| dependency.circuit.window);
            dependencies.chain([settings.circuit.window])
        });
        let longest_window = windows.max().unwrap_or_default();
        for register in now(self.store.registers(CIRCUIT)) {
            let Ok(circuit) = serde_json::from_value::<Circuit>(register.value) else { continue };
            let waits = circuit.manual || circuit.failed_probes >= PROBES_BEFORE_A_PERSON;
            let Ok(function) = FunctionName::new(&register.name) else { continue };
            if circuit.state == CircuitState::Closed || !waits {
                continue;
            }
            let time = self.executor.now();
            let (closed, last) = self.closed.entry(register.name).or_default();
            // What failed before the last opening counts for a window. Whoever closes again within it sees the same again:
            // nothing runs out of attempts, and so nothing is held that could be set aside.
            if *closed > CLOSED_IN_VAIN && time < *last + 3 * longest_window {
                continue;
            }
            (*closed, *last) = (*closed + 1, time);
            if *closed > CLOSED_IN_VAIN {
                self.set_poison_aside(&function);
            }
            if self.has_stopped() {
                return;
            }
            self.says(format_args!("closes the circuit of {function}"));
            let act = self.act("it should work again");
            match self.ask("closing", acts::close(&*self.store, &function, &act)) {
                Some(_) => self.circuit_was_changed(&function),
                None if self.has_stopped() => return,
                None => {}
            }
        }
    }

    /// A person sets aside what is parked and always fails, as the circuit's reason tells them to: when there are more such
    /// events than its threshold, and nothing else, it opens again each time that it is closed. Some are not even held then:
    /// what is under way when it opens uses up no attempt.
    fn set_poison_aside(&self, circuit: &FunctionName) {
        for stored in self.parked(|lane| self.scenario.circuits_of(&lane.function).contains(circuit)) {
            let (event, function) = (&stored.parked.event, &stored.parked.lane.function);
            let fate = Fate::of_event(self.scenario.seed, function, &event.data, &parse(event).1);
            if matches!(fate, Fate::Poison(_)) && !self.has_stopped() {
                self.set_aside(&stored, "it always fails");
            }
        }
    }

    // --- Pauses ---------------------------------------------------------------------------------------------------------

    fn pause_or_resume(&mut self) {
        let paused = self.paused();
        if !paused.is_empty() && self.random.one_in(2) {
            let target = self.random.pick(&paused);
            return self.resume(&target);
        }
        let function = self.random.pick(&self.scenario.functions).name;
        let lanes = now(self.store.checkpoints()).into_iter().map(|checkpoint| checkpoint.lane);
        let lanes: Vec<Lane> = lanes.filter(|lane| lane.function == function).collect();
        let target = match self.random.one_in(2) && !lanes.is_empty() {
            true => PauseTarget::Lane(self.random.pick(&lanes)),
            false => PauseTarget::Function(function),
        };
        self.says(format_args!("pauses {target}"));
        self.ask("pausing", acts::pause(&*self.store, &target, &self.act("to look at it")));
        self.tell_of_changes();
    }

    fn paused(&self) -> Vec<PauseTarget> {
        let names: Vec<String> =
            now(self.store.registers(PAUSE)).into_iter().map(|register| register.name).collect();
        let functions =
            self.scenario.functions.iter().map(|function| PauseTarget::Function(function.name.clone()));
        let lanes =
            now(self.store.checkpoints()).into_iter().map(|checkpoint| PauseTarget::Lane(checkpoint.lane));
        functions.chain(lanes).filter(|target| names.contains(&target.to_string())).collect()
    }

    fn resume(&mut self, target: &PauseTarget) {
        self.says(format_args!("resumes {target}"));
        self.ask("resuming", acts::resume(&*self.store, target, &self.act("it was looked at")));
        self.tell_of_changes();
    }

    pub(super) fn resume_everything(&mut self) {
        for target in self.paused() {
            if !self.has_stopped() {
                self.resume(&target);
            }
        }
    }

    // --- Checkpoints ----------------------------------------------------------------------------------------------------

    /// A person moves the checkpoint of a lane, back more often than forward.
    fn seek(&mut self) {
        let checkpoints = now(self.store.checkpoints());
        let Some(site) = &self.site else { return };
        if checkpoints.is_empty() {
            return;
        }
        let contents = site.read_all();
        // What is skipped now is read by nobody else.
        contents.iter().for_each(|content| self.oracle.read(content.partition, &content.events));
        let checkpoint = self.random.pick(&checkpoints);
        let (lane, from) = (checkpoint.lane, checkpoint.position);
        let content = contents.iter().find(|content| content.partition == lane.partition);
        let (head, tail) = content.map_or((0, 0), |content| (content.head.0, content.tail().0));
        let to = match self.random.one_in(4) {
            true => from.0 + self.random.below(5).min(tail.saturating_sub(from.0)),
            false => from.0 - self.random.below(20).min(from.0.saturating_sub(head)),
        };
        let to = SequenceNumber(to);
        if to == from {
            return;
        }
        self.says(format_args!("moves the checkpoint of {lane} from {from} to {to}"));
        let act = self.act("once more");
        let subject = match self.mutation {
            Some(Mutation::SilentSeek) => "somewhere".to_owned(),
            _ => lane.to_string(),
        };
        let (action, detail) = ("checkpoint.seek", serde_json::Value::Null);
        let entry = NewTrailEntry { action, subject, act, detail };
        let (owner, moves) = (self.oracle.owner(&lane), self.moves_of(&lane));
        if self.ask("moving", self.store.seek(&lane, from, to, entry)).is_none() {
            return self.doubts(|| Doubt::Seek { lane, from, to, moves });
        }
        self.oracle.sought(&lane, from, to, &*self.store);
        self.oracle.store_synced();
        // The server tells the processor of its own program. Those that share the lanes find it out.
        let told = match self.scenario.options.sharing {
            Sharing::Alone => owner,
            Sharing::Shared { .. } => Some(self.random.pick(&self.instances_by_name())),
        };
        for instance in self.instances.iter().filter(|instance| told.as_ref() == Some(&instance.name)) {
            if let Some(processor) = &*instance.processor.lock() {
                let lanes = processor.lanes();
                lanes.iter().filter(|owned| owned.lane == lane).for_each(OwnedLane::checkpoint_was_moved);
            }
        }
    }

    /// How often people have moved the checkpoint of a lane: the trail says it, whatever was answered.
    fn moves_of(&self, lane: &Lane) -> usize {
        let trail = now(self.store.trail(Some(&lane.to_string()), 0, usize::MAX));
        trail.iter().filter(|entry| entry.action == "checkpoint.seek").count()
    }

    // --- What nobody knows ----------------------------------------------------------------------------------------------

    /// A person's act was answered with an error. It may have happened if the machine stopped meanwhile, or the sync failed:
    /// then it is in the write-ahead log. What is asked for later does not happen.
    fn doubts(&mut self, act: impl FnOnce() -> Doubt) {
        if self.doubt.is_none() && self.is_in_doubt() {
            self.doubt = Some(act());
        }
    }

    /// What nobody knew of a person's act can be seen now.
    pub(super) fn settle_doubt(&mut self) {
        match self.doubt.take() {
            Some(Doubt::Redrive(before)) => {
                let now = now(self.store.dead_letter(before.id));
                if now.is_some_and(|now| now.redrives > before.redrives) {
                    self.says(format_args!("redrove {}, as is seen now", before.id));
                    self.oracle.redriven(&before);
                    self.oracle.store_synced();
                }
            }
            Some(Doubt::Seek { lane, from, to, moves }) if self.moves_of(&lane) > moves => {
                self.says(format_args!("moved the checkpoint of {lane}, as is seen now"));
                self.oracle.sought(&lane, from, to, &*self.store);
                self.oracle.store_synced();
            }
            Some(Doubt::Seek { .. }) | None => {}
        }
    }

    fn instances_by_name(&self) -> Vec<String> {
        self.instances.iter().map(|instance| instance.name.clone()).collect()
    }

    /// Those that process are told that something was changed from outside; of those that share the lanes only one, through
    /// which a person acted.
    fn tell_of_changes(&mut self) {
        let told = match self.scenario.options.sharing {
            Sharing::Alone => self.instances_by_name(),
            Sharing::Shared { .. } => vec![self.random.pick(&self.instances_by_name())],
        };
        for instance in self.instances.iter().filter(|instance| told.contains(&instance.name)) {
            if let Some(processor) = &*instance.processor.lock() {
                processor.lanes().iter().for_each(OwnedLane::changed_from_outside);
            }
        }
    }
}
