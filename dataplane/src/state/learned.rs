//! What upstreams were found not to take, by asking them.
//!
//! It is shared by all who use the provider, so it only ever leaves out what a request can do without, and it is learned
//! from nothing but a request that was refused with it and served without. It lasts until the provider's configuration
//! says something else, and a few hours at most: vendors move aliases and servers are upgraded behind the same address,
//! and asking again costs one refused attempt.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use routeapi_protocol::{
    host::Surfaces,
    limits::{ChatLimit, Features},
    request::{LeftOut, ReasoningSetting},
};

/// How long it is kept.
const KEPT: Duration = Duration::from_secs(6 * 3_600);
/// Most models of one upstream: a route with a prefix sends whatever its clients name. The oldest makes room.
const MAX_MODELS: usize = 32;
/// Longest model id that is kept, in bytes.
const MAX_MODEL_BYTES: usize = 256;

/// What an upstream was found not to take.
#[derive(Debug, Default)]
pub struct Learned {
    /// Whether there is anything: most upstreams refuse nothing, and requests ask often.
    anything: AtomicBool,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    /// The provider's spec under which it was learned, by its hash.
    spec: Option<u64>,
    /// Since when it is known that the server refuses `stream_options`.
    refuses_usage: Option<Instant>,
    models: Vec<Model>,
}

/// What one model refuses.
#[derive(Debug)]
struct Model {
    id: String,
    since: Instant,
    /// Hints, by what the request says about reasoning.
    hints: [Features; 3],
    /// The name of Chat's output limit.
    chat_limit: Option<ChatLimit>,
    /// Where the host does not serve it.
    closed: Surfaces,
}

/// What is known to be refused, for people.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// `stream_options`, by which usage is asked for in a Chat stream.
    pub stream_options: bool,
    /// By model.
    pub models: Vec<(String, LeftOut)>,
}

// === impl Learned ===

impl Learned {
    /// Takes on a new configuration: another spec may mean another server, so that what was learned is forgotten.
    pub(super) fn configure(&self, spec: u64) {
        let mut facts = self.facts();
        if facts.spec.replace(spec).is_some_and(|known| known != spec) {
            *facts = Facts { spec: Some(spec), ..Facts::default() };
            self.anything.store(false, Ordering::Relaxed);
        }
    }

    /// What is left out of a request for a model.
    pub fn left_out(&self, model: &str, setting: impl FnOnce() -> ReasoningSetting, now: Instant) -> LeftOut {
        if !self.anything.load(Ordering::Relaxed) {
            return LeftOut::default();
        }
        let mut facts = self.facts();
        self.forget_old(&mut facts, now);
        let known = facts.models.iter().find(|known| known.id == model);
        LeftOut {
            usage: facts.refuses_usage.is_some(),
            reasoning: false,
            web_search: false,
            hints: known.map(|known| known.hints_for(setting())).unwrap_or_default(),
            chat_limit: known.and_then(|known| known.chat_limit),
            closed: known.map(|known| known.closed).unwrap_or_default(),
        }
    }

    /// It refused a request for this, and took the same request without. Returns whether that is new.
    pub fn learn(&self, model: &str, setting: ReasoningSetting, refused: LeftOut, now: Instant) -> bool {
        let mut facts = self.facts();
        self.forget_old(&mut facts, now);
        let mut is_new = refused.usage && facts.refuses_usage.is_none();
        if is_new {
            facts.refuses_usage = Some(now);
        }
        let is_of_model = !refused.hints.is_empty() || refused.chat_limit.is_some() || !refused.closed.is_empty();
        if is_of_model && model.len() <= MAX_MODEL_BYTES {
            is_new |= facts.learn(model, setting, refused, now);
        }
        self.anything.store(facts.holds_anything(), Ordering::Relaxed);
        is_new
    }

    /// All of it.
    pub fn overview(&self, now: Instant) -> Overview {
        let mut facts = self.facts();
        self.forget_old(&mut facts, now);
        let model = |known: &Model| {
            let hints = known.hints.into_iter().fold(Features::NONE, Features::or);
            let (chat_limit, closed) = (known.chat_limit, known.closed);
            (known.id.clone(), LeftOut { hints, chat_limit, closed, ..LeftOut::default() })
        };
        Overview { stream_options: facts.refuses_usage.is_some(), models: facts.models.iter().map(model).collect() }
    }

    fn forget_old(&self, facts: &mut Facts, now: Instant) {
        let is_kept = |since: Instant| now.saturating_duration_since(since) < KEPT;
        facts.models.retain(|known| is_kept(known.since));
        facts.refuses_usage = facts.refuses_usage.filter(|since| is_kept(*since));
        self.anything.store(facts.holds_anything(), Ordering::Relaxed);
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Facts ===

impl Facts {
    fn holds_anything(&self) -> bool {
        self.refuses_usage.is_some() || !self.models.is_empty()
    }

    /// Returns whether that is new.
    fn learn(&mut self, id: &str, setting: ReasoningSetting, refused: LeftOut, now: Instant) -> bool {
        if let Some(known) = self.models.iter_mut().find(|known| known.id == id) {
            return known.learn(setting, refused);
        }
        if self.models.len() >= MAX_MODELS {
            let oldest = self.models.iter().enumerate().min_by_key(|(_, known)| known.since).map_or(0, |(at, _)| at);
            self.models.swap_remove(oldest);
        }
        let mut model = Model {
            id: id.to_owned(),
            since: now,
            hints: [Features::NONE; 3],
            chat_limit: None,
            closed: Surfaces::NONE,
        };
        let is_new = model.learn(setting, refused);
        self.models.push(model);
        is_new
    }
}

// === impl Model ===

impl Model {
    fn hints_for(&self, setting: ReasoningSetting) -> Features {
        let [by_default, on, off] = self.hints;
        match setting {
            ReasoningSetting::Default => by_default,
            ReasoningSetting::On => on,
            ReasoningSetting::Off => off,
        }
    }

    /// Returns whether that is new.
    fn learn(&mut self, setting: ReasoningSetting, refused: LeftOut) -> bool {
        let before = (self.hints, self.chat_limit, self.closed);
        let [by_default, on, off] = &mut self.hints;
        let hints = match setting {
            ReasoningSetting::Default => by_default,
            ReasoningSetting::On => on,
            ReasoningSetting::Off => off,
        };
        *hints = hints.or(refused.hints);
        self.chat_limit = refused.chat_limit.or(self.chat_limit);
        // What was open again in the turn that taught this is not closed any more.
        if !refused.closed.is_empty() {
            self.closed = refused.closed;
        }
        before != (self.hints, self.chat_limit, self.closed)
    }
}

#[cfg(test)]
mod tests {
    use routeapi_protocol::{host::Surface, limits::Feature};

    use super::*;

    const USAGE: LeftOut = LeftOut { usage: true, ..NOTHING };
    const NOTHING: LeftOut = LeftOut {
        usage: false,
        reasoning: false,
        web_search: false,
        hints: Features::NONE,
        chat_limit: None,
        closed: Surfaces::NONE,
    };

    fn hint(feature: Feature) -> LeftOut {
        LeftOut { hints: Features::NONE.with(feature), ..NOTHING }
    }

    fn left_out(learned: &Learned, model: &str, setting: ReasoningSetting, now: Instant) -> LeftOut {
        learned.left_out(model, || setting, now)
    }

    #[test]
    fn learned_facts_last_until_the_spec_changes() {
        let (learned, now) = (Learned::default(), Instant::now());
        learned.configure(1);
        assert!(learned.learn("m", ReasoningSetting::Default, USAGE, now));
        assert!(!learned.learn("m", ReasoningSetting::Default, USAGE, now), "it is news once");
        assert!(learned.learn("m", ReasoningSetting::Default, hint(Feature::Stop), now));
        learned.configure(1);
        let known = left_out(&learned, "m", ReasoningSetting::Default, now);
        assert!(known.usage && known.hints.contains(Feature::Stop));
        learned.configure(2);
        assert_eq!(left_out(&learned, "m", ReasoningSetting::Default, now), NOTHING);
        assert_eq!(learned.overview(now), Overview::default());
    }

    #[test]
    fn learned_facts_are_forgotten_after_some_hours() {
        let (learned, now) = (Learned::default(), Instant::now());
        learned.learn("m", ReasoningSetting::Default, LeftOut { usage: true, ..hint(Feature::Seed) }, now);
        let late = now + KEPT - Duration::from_secs(1);
        assert_ne!(left_out(&learned, "m", ReasoningSetting::Default, late), NOTHING);
        assert_eq!(left_out(&learned, "m", ReasoningSetting::Default, now + KEPT), NOTHING);
        assert!(learned.learn("m", ReasoningSetting::Default, hint(Feature::Seed), now + KEPT), "it is news again");
    }

    #[test]
    fn what_one_model_refuses_says_nothing_of_others_nor_of_other_reasoning() {
        let (learned, now) = (Learned::default(), Instant::now());
        assert!(learned.learn("gpt-5.4", ReasoningSetting::On, hint(Feature::Temperature), now));
        let known = |model, setting| left_out(&learned, model, setting, now).hints;
        assert!(known("gpt-5.4", ReasoningSetting::On).contains(Feature::Temperature));
        assert!(known("gpt-5.4", ReasoningSetting::Off).is_empty());
        assert!(known("gpt-5.4", ReasoningSetting::Default).is_empty());
        assert!(known("gpt-4o", ReasoningSetting::On).is_empty());
        let usage = LeftOut { chat_limit: Some(ChatLimit::MaxTokens), ..USAGE };
        assert!(learned.learn("gpt-5.4", ReasoningSetting::On, usage, now));
        let of_another = left_out(&learned, "gpt-4o", ReasoningSetting::Off, now);
        assert_eq!(of_another, USAGE, "stream_options are the server's, a name is the model's");
        assert_eq!(left_out(&learned, "gpt-5.4", ReasoningSetting::Off, now), usage);
    }

    #[test]
    fn what_is_closed_to_a_model_is_known_whatever_is_asked_and_can_open_again() {
        let (learned, now) = (Learned::default(), Instant::now());
        let closed = |surfaces: &[Surface]| surfaces.iter().copied().fold(Surfaces::NONE, Surfaces::with);
        let lesson = |surfaces| LeftOut { closed: closed(surfaces), ..NOTHING };
        assert!(learned.learn("m", ReasoningSetting::On, lesson(&[Surface::InvokeModel]), now));
        assert!(!learned.learn("m", ReasoningSetting::Off, lesson(&[Surface::InvokeModel]), now));
        let known = |model| left_out(&learned, model, ReasoningSetting::Default, now).closed;
        assert_eq!((known("m"), known("n")), (closed(&[Surface::InvokeModel]), Surfaces::NONE));
        assert!(learned.learn("m", ReasoningSetting::On, lesson(&[Surface::Converse]), now));
        assert_eq!(known("m"), closed(&[Surface::Converse]), "the other one serves it again");
        learned.learn("m", ReasoningSetting::On, hint(Feature::Seed), now);
        assert_eq!(known("m"), closed(&[Surface::Converse]), "a hint says nothing of surfaces");
    }

    #[test]
    fn models_are_bounded_and_the_oldest_makes_room() {
        let (learned, start) = (Learned::default(), Instant::now());
        for at in 0..1_000_u32 {
            let now = start + Duration::from_millis(at.into());
            learned.learn(&format!("m-{at}"), ReasoningSetting::Default, hint(Feature::Seed), now);
        }
        let overview = learned.overview(start);
        assert_eq!(overview.models.len(), MAX_MODELS);
        assert!(overview.models.iter().any(|(id, _)| id == "m-999"));
        assert!(!learned.learn(&"m".repeat(300), ReasoningSetting::Default, hint(Feature::Seed), start));
    }
}
