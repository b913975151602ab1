//! Settings → a store on Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::{bucket_name, cannot_open, client_defaults, prefix, retries, unknown};
use crate::stores::azure::AzureExtras;
use crate::stores::object::{KeptTimes, MtimeForm, ObjectBacked};
use crate::stores::{PartLimits, Settings};

/// The options that are wanted most, for messages. All names: the documentation of `object_store` 0.14.
const OPTIONS: &str = "azure_storage_account_name, azure_storage_account_key, azure_storage_sas_key, \
                             azure_client_id, azure_client_secret, azure_tenant_id, azure_storage_endpoint, timeout";

/// A container of Azure Blob Storage. `place` is a container, or as Hadoop writes it `CONTAINER@ACCOUNT.dfs.core.windows.net`.
pub(super) fn open(settings: &Settings, scheme: &str, place: &str, path: &str) -> Result<ObjectBacked, String> {
    let container = place.split_once('@').map_or(place, |(container, _)| container);
    let container = bucket_name(settings, container, "container: az://CONTAINER/PREFIX")?;
    let prefix = prefix(settings, path)?;
    let mut client = client_defaults();
    let mut builder = MicrosoftAzureBuilder::from_env();
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        match option.parse::<AzureConfigKey>() {
            Ok(AzureConfigKey::ContainerName) | Err(_) => {
                return Err(unknown(settings, &option, "Azure", OPTIONS));
            }
            Ok(AzureConfigKey::Client(key)) => client = client.with_config(key, value.expose()),
            Ok(key) => builder = builder.with_config(key, value.expose()),
        }
    }
    let builder = builder.with_url(format!("{scheme}://{place}")).with_client_options(client).with_retry(retries());
    let objects = Arc::new(builder.build().map_err(|error| cannot_open(settings, &error))?);
    Ok(ObjectBacked {
        name: settings.name.clone(),
        bucket: container.to_owned(),
        prefix,
        extras: Arc::new(AzureExtras { objects: Arc::clone(&objects) }),
        objects,
        limits: PartLimits {
            smallest_part: 1,
            largest_part: 4_000 << 20,
            most_parts: 50_000,
            largest_object: 190 << 40,
            equal_parts: false,
        },
        mtime_form: MtimeForm::Rfc3339,
        kept_times: Some(KeptTimes::default()),
    })
}
