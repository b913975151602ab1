//! One suite for every store: memory, local, and S3 against a server of the tests' own, or the one that
//! `LOCKGATE_TEST_S3_ENDPOINT` and `LOCKGATE_TEST_S3_BUCKET` name (keys: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`).
//!
//! Azure Blob Storage likewise: against an emulator of the tests' own, or the account that `LOCKGATE_TEST_AZURE_ACCOUNT`,
//! `LOCKGATE_TEST_AZURE_KEY`, `LOCKGATE_TEST_AZURE_CONTAINER` (it exists) and perhaps `LOCKGATE_TEST_AZURE_ENDPOINT` name. Google
//! Cloud Storage against an emulator, or the bucket that `LOCKGATE_TEST_GCS_BUCKET` names (an access token in
//! `LOCKGATE_TEST_GCS_TOKEN`).
//!
//! Upstream SFTP servers: OpenSSH's sshd and ProFTPD, started by the tests.
//!
//! Without a server the tests with one fail, so that a run never passes without them by accident; `LOCKGATE_TEST_SKIP_SERVERS=1`
//! skips them where `CI` is not set.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "conformance/azure_only.rs"]
mod azure_only;
#[path = "conformance/behind_faults.rs"]
mod behind_faults;
#[path = "conformance/behind_latency.rs"]
mod behind_latency;
#[path = "conformance/call_counts.rs"]
mod call_counts;
#[path = "conformance/close_errors.rs"]
mod close_errors;
#[path = "conformance/copies.rs"]
mod copies;
#[path = "conformance/decorated.rs"]
mod decorated;
#[path = "conformance/directories.rs"]
mod directories;
#[path = "conformance/files.rs"]
mod files;
#[path = "conformance/fixture.rs"]
mod fixture;
#[path = "conformance/fixture_azure.rs"]
mod fixture_azure;
#[path = "conformance/fixture_gcs.rs"]
mod fixture_gcs;
#[path = "conformance/fixture_proftpd.rs"]
mod fixture_proftpd;
#[path = "conformance/fixture_sftp.rs"]
mod fixture_sftp;
#[path = "conformance/gcs_only.rs"]
mod gcs_only;
#[path = "conformance/ground.rs"]
mod ground;
#[path = "conformance/in_process_s3.rs"]
mod in_process_s3;
#[path = "conformance/listings.rs"]
mod listings;
#[path = "conformance/local_only.rs"]
mod local_only;
#[path = "conformance/lost_answers.rs"]
mod lost_answers;
#[path = "conformance/memory_only.rs"]
mod memory_only;
#[path = "conformance/model.rs"]
mod model;
#[path = "conformance/permanent_faults.rs"]
mod permanent_faults;
#[path = "conformance/provenance.rs"]
mod provenance;
#[path = "conformance/proxy_itself.rs"]
mod proxy_itself;
#[path = "conformance/remembered.rs"]
mod remembered;
#[path = "conformance/renames.rs"]
mod renames;
#[path = "conformance/s3_only.rs"]
mod s3_only;
#[path = "conformance/schedules.rs"]
mod schedules;
#[path = "conformance/seams.rs"]
mod seams;
#[path = "conformance/seams_stage.rs"]
mod seams_stage;
#[path = "conformance/sftp_auth.rs"]
mod sftp_auth;
#[path = "conformance/sftp_cost.rs"]
mod sftp_cost;
#[path = "conformance/sftp_faults.rs"]
mod sftp_faults;
#[path = "conformance/sftp_links.rs"]
mod sftp_links;
#[path = "conformance/sftp_only.rs"]
mod sftp_only;
#[path = "conformance/sftp_spares.rs"]
mod sftp_spares;
#[path = "support/mod.rs"]
mod support;
#[path = "conformance/uploads.rs"]
mod uploads;
#[path = "conformance/versions.rs"]
mod versions;

/// Makes a test of each check for each store.
macro_rules! conformance {
    ($($module:ident::$check:ident,)*) => {
        mod memory { $(#[tokio::test] async fn $check() { crate::$module::$check(crate::fixture::Fixture::memory()).await })* }
        mod local { $(#[tokio::test] async fn $check() { crate::$module::$check(crate::fixture::Fixture::local()).await })* }
        mod s3 {
            $(#[tokio::test] async fn $check() {
                if let Some(fixture) = crate::fixture::Fixture::s3().await {
                    crate::$module::$check(fixture).await;
                }
            })*
        }
        mod azure {
            $(#[tokio::test] async fn $check() {
                if let Some(fixture) = crate::fixture::Fixture::azure() {
                    crate::$module::$check(fixture).await;
                }
            })*
        }
        mod gcs {
            $(#[tokio::test] async fn $check() {
                if let Some(fixture) = crate::fixture::Fixture::gcs().await {
                    crate::$module::$check(fixture).await;
                }
            })*
        }
        mod s3s {
            $(#[tokio::test] async fn $check() {
                crate::in_process_s3::run(stringify!($check), crate::$module::$check).await;
            })*
        }
        mod sftp { $(#[tokio::test] async fn $check() { crate::$module::$check(crate::fixture::Fixture::sftp()).await })* }
        mod proftpd {
            $(#[tokio::test] async fn $check() {
                if let Some(fixture) = crate::fixture::Fixture::proftpd() {
                    crate::$module::$check(fixture).await;
                }
            })*
        }
        mod sftp_behind_latency {
            $(#[tokio::test] async fn $check() {
                crate::fixture_sftp::behind_latency(crate::$module::$check).await;
            })*
        }
        mod memory_behind_latency {
            $(#[tokio::test] async fn $check() {
                crate::$module::$check(crate::behind_latency::delayed(crate::fixture::Fixture::memory())).await;
            })*
        }
        mod local_behind_latency {
            $(#[tokio::test] async fn $check() {
                crate::$module::$check(crate::behind_latency::delayed(crate::fixture::Fixture::local())).await;
            })*
        }
        mod s3_behind_latency {
            $(#[tokio::test] async fn $check() { crate::behind_latency::s3(crate::$module::$check).await })*
        }
        mod s3_behind_faults {
            $(#[tokio::test] async fn $check() {
                crate::behind_faults::s3(stringify!($check), crate::$module::$check).await;
            })*
        }
    };
}

conformance! {
    files::what_is_put_is_read,
    files::reads_are_bounded_by_the_object,
    files::a_missing_name_is_not_found,
    files::refusing_never_replaces,
    files::a_replaced_object_is_never_mixed,
    files::odd_names_work,
    files::the_longest_keys_work,
    files::mtime_is_kept,
    files::deleting_what_is_missing_changes_nothing,
    files::etags_follow_the_content,
    directories::a_made_directory_lasts_while_empty,
    directories::a_directory_with_entries_is_not_removed,
    directories::parents_come_with_files,
    directories::the_root_is_a_directory,
    directories::the_time_of_a_directory_is_kept,
    listings::an_empty_directory_lists_nothing,
    listings::the_first_page_tells_the_directorys_own_time,
    listings::names_and_sizes_are_listed,
    listings::pages_lose_and_repeat_nothing,
    listings::names_that_share_a_beginning_are_told_apart,
    uploads::an_upload_appears_whole_when_completed,
    uploads::an_aborted_upload_leaves_nothing,
    uploads::a_dropped_upload_publishes_nothing,
    uploads::an_exclusive_upload_never_replaces,
    uploads::an_upload_keeps_its_mtime,
    uploads::an_empty_upload_is_an_empty_object,
    uploads::parts_may_come_from_the_object_that_is_replaced,
    uploads::a_part_may_be_sent_again,
    renames::a_file_is_renamed,
    renames::a_rename_may_refuse,
    renames::a_missing_source_is_not_found,
    renames::a_directory_is_renamed_whole,
    renames::a_large_directory_is_renamed,
    renames::a_directory_is_not_renamed_into_itself,
    copies::an_object_is_copied_with_a_time_of_its_own,
    copies::a_copy_may_refuse,
    copies::only_the_wanted_version_is_copied,
    versions::only_the_wanted_version_is_deleted,
    versions::what_is_made_from_a_version_replaces_that_and_no_other,
    versions::an_upload_made_from_a_version_replaces_that_and_no_other,
}
