//! The models that a provider says it offers: the last list that was had, and when to ask again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use routeapi_protocol::models::offered::OfferedModel;

/// How old a list becomes. New models appear a few times a month; people wait for them.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// Until a provider that gave no list is asked again. What it said last stays.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The last list of one provider.
#[derive(Debug, Default)]
pub struct OfferedModels(Mutex<Listed>);

#[derive(Debug, Default)]
struct Listed {
    models: Arc<[OfferedModel]>,
    /// Not before; none if it has never been asked.
    due: Option<Instant>,
}

impl OfferedModels {
    /// What it said last; empty if it never has.
    pub fn known(&self) -> Arc<[OfferedModel]> {
        Arc::clone(&self.lock().models)
    }

    /// Whether to ask it now. Whoever is told so does, and nobody else is until that must have ended.
    pub fn begin(&self, now: Instant) -> bool {
        let mut listed = self.lock();
        let is_due = listed.due.is_none_or(|due| due <= now);
        if is_due {
            listed.due = now.checked_add(RETRY_INTERVAL);
        }
        is_due
    }

    /// It gave a list. `spread` is a share of the interval, from 0 to 1000, by which this process asks earlier, so that the
    /// processes of a cluster do not all ask at once.
    pub fn listed(&self, models: Vec<OfferedModel>, now: Instant, spread: u32) {
        let earlier = REFRESH_INTERVAL / 4 * spread.min(1000) / 1000;
        *self.lock() = Listed { models: models.into(), due: now.checked_add(REFRESH_INTERVAL.saturating_sub(earlier)) };
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_stays_until_there_is_another_and_one_asks_at_a_time() {
        let (offered, start) = (OfferedModels::default(), Instant::now());
        assert!(offered.begin(start));
        assert!(!offered.begin(start), "somebody asks already");
        let model = OfferedModel { id: "a".into(), ..OfferedModel::default() };
        offered.listed(vec![model.clone()], start, 1000);
        assert!(!offered.begin(start + Duration::from_secs(449)));
        assert!(offered.begin(start + Duration::from_secs(450)));
        assert_eq!(offered.known().to_vec(), [model], "the provider is away");
        assert!(!offered.begin(start + Duration::from_secs(509)));
        assert!(offered.begin(start + Duration::from_secs(510)), "and is asked again");
    }
}
