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
mod lanes;
mod samples;

pub use self::commits::*;
pub use self::dead_letters::*;
pub use self::documents::*;
pub use self::lanes::*;

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
