//! The suite of the store ports, for stores with
//! [`CommitGuarantee::OneTransaction`](crate::commit::CommitGuarantee::OneTransaction).
//!
//! A store runs it by implementing [`StoreFactory`] and calling `tidegate_model::store_suite!` in a test module, with an
//! expression that makes a factory of a new, empty place; every check gets its own.

#![expect(clippy::unwrap_used, reason = "a check that cannot go on has failed")]

use async_trait::async_trait;

use crate::ports::Store;

mod commits;
mod dead_letters;
mod documents;
mod health;
mod lanes;
mod leases;
mod messages;
mod outbox;
mod parking;
mod parking_acts;
mod redrives;
mod registers;
mod samples;
mod seek;
mod walk;

pub use self::commits::*;
pub use self::dead_letters::*;
pub use self::documents::*;
pub use self::health::*;
pub use self::lanes::*;
pub use self::leases::*;
pub use self::messages::*;
pub use self::outbox::*;
pub use self::parking::*;
pub use self::parking_acts::*;
pub use self::redrives::*;
pub use self::registers::*;
pub use self::seek::*;
pub use self::walk::*;

/// Opens the store under test.
#[async_trait]
pub trait StoreFactory: Send + Sync {
    /// The store under test.
    type Store: Store;

    /// Opens the store in this factory's place, which is empty the first time.
    async fn open(&self) -> Self::Store;

    /// Closes `store` and opens it again in the same place.
    async fn reopen(&self, store: Self::Store) -> Self::Store;
}

/// Makes one `#[tokio::test]` of each check in [`conformance::store`](crate::conformance::store). The argument is an
/// expression for a new [`StoreFactory`](crate::conformance::store::StoreFactory); it is evaluated once per check.
#[macro_export]
macro_rules! store_suite {
    ($factory:expr) => {
        $crate::store_suite!(@checks $factory;
            a_claim_raises_the_epoch,
            a_stale_owner_is_fenced,
            a_release_keeps_the_epoch_and_a_stale_one_changes_nothing,
            a_lane_without_owner_or_checkpoint_is_fenced,
            begin_keeps_the_first_checkpoint,
            checkpoints_are_ordered_by_lane,
            a_commit_from_another_position_is_refused,
            a_commit_of_another_incarnation_is_refused,
            a_refused_commit_writes_nothing,
            the_same_commit_again_says_that_it_happened,
            of_two_commits_of_one_step_one_goes_through,
            counts_add_up,
            several_lanes_progress_together,
            an_empty_commit_changes_nothing,
            documents_come_in_the_order_of_the_ids,
            many_documents_go_in_and_out,
            documents_keep_every_byte,
            preconditions_are_checked,
            each_commit_has_a_greater_etag,
            documents_are_listed_page_by_page,
            collections_are_counted,
            dead_letters_keep_every_byte,
            dead_letters_are_filtered_paged_and_counted,
            attempts_are_replaced_and_removed,
            parked_events_keep_every_byte,
            an_encoded_message_changes_nothing,
            the_parked_events_of_a_key_are_a_queue,
            parked_events_without_key_are_queues_of_their_own,
            a_parking_place_tells_what_is_in_it,
            what_is_read_of_a_queue_is_limited,
            parked_events_are_listed_page_by_page,
            a_long_queue_is_worked_off_in_order,
            each_change_of_a_parked_event_gives_a_greater_version,
            a_commit_on_another_version_of_a_parked_event_is_refused,
            a_resolved_parked_event_is_counted_as_its_outcome,
            an_event_that_stays_parked_keeps_its_place,
            a_commit_of_parked_events_again_says_that_it_happened,
            of_two_commits_of_a_parked_event_one_goes_through,
            parked_events_are_counted_one_by_one,
            a_parked_event_can_be_tried_now,
            held_events_are_released_function_by_function,
            a_parked_event_can_be_set_aside,
            acts_on_parked_events_move_the_mark_and_commits_do_not,
            a_redrive_that_is_set_aside_goes_back_to_its_dead_letter,
            dead_letters_are_found_by_each_condition,
            dead_letters_are_grouped_by_cause,
            a_new_dead_letter_is_open,
            a_redriven_dead_letter_is_parked,
            a_redriven_event_keeps_the_order_of_its_key,
            a_resolved_redrive_closes_its_dead_letter,
            a_failed_redrive_comes_back_with_its_new_story,
            a_dead_letter_that_keeps_coming_back_is_quarantined,
            a_discarded_dead_letter_is_counted_as_such,
            acts_are_allowed_by_status,
            an_act_on_many_answers_for_each,
            many_dead_letters_are_redriven_at_once,
            edits_are_revisions_beside_the_event,
            an_edit_of_the_partition_key_is_refused,
            a_dead_letter_of_another_incarnation_is_not_redriven,
            acts_on_dead_letters_are_in_the_audit_trail,
            the_audit_trail_is_read_page_by_page,
            a_lease_is_given_to_one_at_a_time,
            a_lease_runs_out,
            a_lease_keeps_others_away,
            an_act_ends_the_actors_own_lease,
            a_lease_is_moved_by_its_holder,
            replaying_ends_a_lease,
            a_lane_begins_anew_where_it_is_moved_to,
            moving_a_checkpoint_fences_the_owner,
            a_checkpoint_is_moved_from_where_it_was_seen,
            what_is_read_again_waits_no_longer,
            moving_forward_leaves_what_waits,
            events_before_the_start_are_not_counted,
            a_replayed_event_that_fails_again_has_a_new_dead_letter,
            moving_a_checkpoint_is_in_the_audit_trail,
            a_register_is_changed_by_who_knows_its_version,
            versions_of_a_register_never_go_back,
            registers_are_listed_by_kind,
            a_change_its_notices_and_its_trail_are_one,
            of_many_changes_at_once_one_wins,
            a_new_notice_is_due_for_every_target,
            deliveries_are_each_targets_own,
            a_failed_delivery_is_due_again,
            a_delivery_that_was_given_up_is_not_due,
            recent_notices_come_newest_first,
            notices_are_kept_for_a_day_after_the_last_delivery,
            notices_without_targets_are_forgotten,
            a_delivery_of_a_forgotten_notice_changes_nothing,
            health_adds_up,
            the_window_of_health_begins_where_asked,
            a_refused_commit_brings_no_health,
            old_health_is_forgotten,
            of_two_redrives_at_once_one_is_done,
            of_an_act_and_a_commit_at_once_one_happens,
            many_lease_at_once_and_none_twice,
            whatever_happens_the_accounts_agree,
            everything_survives_reopening,
        );
    };
    (@checks $factory:expr; $($check:ident,)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                $crate::conformance::store::$check(&$factory).await;
            }
        )*
    };
}
