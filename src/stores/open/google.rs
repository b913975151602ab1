//! Settings → a store on Google Cloud Storage.

use std::path::Path;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};

use super::clouds::{
    bucket_name, cannot_open, check_address, client_defaults, cloud_limits, connect, retries, unknown,
};
use super::prefix;
use super::turns::Turns;
use crate::regular_file;
use crate::stores::Settings;
use crate::stores::google::GoogleExtras;
use crate::stores::object::{MtimeForm, MultipartBackend, ObjectBacked};
use crate::stores::place::Site;
use crate::stores::provenance::{self, Names};
use crate::stores::rest::{Client, Signing};
use crate::stores::unfinished::BucketJournal;

/// The options that are wanted most, for messages. All names: the documentation of `object_store` 0.14.
const OPTIONS: &str = "google_service_account, google_service_account_key, google_application_credentials, \
                              google_bearer_token, google_base_url, object_metadata, timeout";

/// A bucket of Google Cloud Storage.
pub(super) fn open(settings: &Settings, bucket: &str, path: &str) -> Result<(ObjectBacked, Turns), String> {
    let bucket = bucket_name(settings, bucket, "bucket: gs://BUCKET/PREFIX")?;
    let prefix = prefix(settings, path)?;
    let mut client = client_defaults();
    let mut builder = GoogleCloudStorageBuilder::from_env();
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        if provenance::is_option(&option) {
            continue;
        }
        match option.parse::<GoogleConfigKey>() {
            Ok(GoogleConfigKey::Bucket) | Err(_) => return Err(unknown(settings, &option, "Google", OPTIONS)),
            Ok(GoogleConfigKey::Client(key)) => client = client.with_config(key, value.expose()),
            Ok(key) => builder = builder.with_config(key, value.expose()),
        }
    }
    let builder = builder.with_bucket_name(bucket).with_client_options(client.clone()).with_retry(retries());
    let turns = Turns::new();
    let builder = builder.with_http_connector(turns.clone());
    // The library reads these when it builds the store, and would wait for what is no file.
    for key in [GoogleConfigKey::ServiceAccount, GoogleConfigKey::ApplicationCredentials] {
        if let Some(file) = builder.get_config_value(&key) {
            regular_file::check(Path::new(&file)).map_err(|error| {
                format!("the credentials {file} of store \"{}\" cannot be read: {error}", settings.name)
            })?;
        }
    }
    let base = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    let base = base.unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
    let address = base.trim_end_matches('/').to_owned();
    check_address(settings, &address, &client, "google_base_url", "allow_http")?;
    let unsigned = builder.get_config_value(&GoogleConfigKey::SkipSignature).is_some_and(|value| value == "true");
    let builder = match unsigned {
        // Without any, the library asks the metadata server of Google's machines for a token even so.
        true => {
            builder.with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: String::new() })))
        }
        false => builder,
    };
    let objects = Arc::new(builder.build().map_err(|error| cannot_open(settings, &error))?);
    let signing = if unsigned { Signing::None } else { Signing::Google(Arc::clone(objects.credentials())) };
    let journal = BucketJournal::new(format!("{address}/{bucket}"));
    let client = Client { http: connect(settings, &turns, &client)?, address, signing };
    let store = ObjectBacked {
        name: settings.name.clone(),
        bucket: bucket.to_owned(),
        prefix,
        site: Site::bucket(bucket, None),
        extras: Arc::new(GoogleExtras {
            client,
            bucket: bucket.to_owned(),
            multipart: MultipartBackend(Arc::clone(&objects) as _),
            journal,
        }),
        objects,
        limits: cloud_limits(false),
        mtime_form: MtimeForm::Rfc3339,
        provenance: provenance::names_of(settings, Names::Dashes)?,
        // Google lists metadata.
        both: Default::default(),
        kept_times: None,
    };
    Ok((store, turns))
}
