//! Settings → a store on Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::ClientOptions;

use super::clouds::{bucket_name, cannot_open, check_address, client_defaults, connect, retries, unknown};
use super::prefix;
use super::turns::Turns;
use crate::stores::azure::{AzureExtras, Container, judge};
use crate::stores::object::{MtimeForm, ObjectBacked};
use crate::stores::place::Site;
use crate::stores::provenance::{self, Names};
use crate::stores::rest::{Client, Signing};
use crate::stores::{PartLimits, Settings};

/// The options that are wanted most, for messages. All names: the documentation of `object_store` 0.14.
const OPTIONS: &str = "azure_storage_account_name, azure_storage_account_key, azure_storage_sas_key, azure_client_id, \
                       azure_client_secret, azure_tenant_id, azure_endpoint, azure_allow_http, object_metadata, timeout";

/// A container of Azure Blob Storage. `place` is a container, or as Hadoop writes it `CONTAINER@ACCOUNT.dfs.core.windows.net`.
pub(super) fn open(
    settings: &Settings,
    scheme: &str,
    place: &str,
    path: &str,
) -> Result<(ObjectBacked, Turns), String> {
    let (container, host) = place.split_once('@').map_or((place, None), |(container, host)| (container, Some(host)));
    let container = bucket_name(settings, container, "container: az://CONTAINER/PREFIX")?;
    let prefix = prefix(settings, path)?;
    judge(&prefix).map_err(|error| format!("the path in the URL of store \"{}\": {error}", settings.name))?;
    let mut client = client_defaults();
    let mut builder = from_environment(settings);
    for (option, value) in &settings.options {
        let option = option.to_ascii_lowercase();
        if provenance::is_option(&option) {
            continue;
        }
        match option.parse::<AzureConfigKey>() {
            Ok(AzureConfigKey::UseEmulator | AzureConfigKey::EncryptionKey) => {
                return Err(unsupported(settings, &option));
            }
            Ok(AzureConfigKey::ContainerName) | Err(_) => return Err(unknown(settings, &option, "Azure", OPTIONS)),
            Ok(AzureConfigKey::Client(key)) => client = client.with_config(key, value.expose()),
            Ok(AzureConfigKey::Endpoint) => {
                builder = builder.with_config(AzureConfigKey::Endpoint, value.expose().trim_end_matches('/'));
            }
            Ok(key) => builder = builder.with_config(key, value.expose()),
        }
    }
    let builder =
        builder.with_url(format!("{scheme}://{place}")).with_client_options(client.clone()).with_retry(retries());
    let turns = Turns::new();
    let builder = builder.with_http_connector(turns.clone());
    let (account, service) = service(settings, &builder, &client, host)?;
    let unsigned = builder.get_config_value(&AzureConfigKey::SkipSignature).is_some_and(|value| value == "true");
    let objects: MicrosoftAzure = builder.build().map_err(|error| cannot_open(settings, &error))?;
    let site = Site::container(&account, &service, container);
    let signing = match unsigned {
        true => Signing::None,
        false => Signing::Azure { credentials: Arc::clone(objects.credentials()), account },
    };
    let address = format!("{service}/{container}");
    let requests = Container::new(Client { http: connect(settings, &turns, &client)?, address, signing });
    let objects = Arc::new(objects);
    let store = ObjectBacked {
        name: settings.name.clone(),
        bucket: container.to_owned(),
        prefix,
        site,
        extras: Arc::new(AzureExtras::new(requests, Arc::clone(&objects))),
        objects,
        limits: PartLimits {
            smallest_part: 1,
            largest_part: 4_000 << 20,
            most_parts: 50_000,
            largest_object: 190 << 40,
            equal_parts: false,
        },
        mtime_form: MtimeForm::Rfc3339,
        provenance: provenance::names_of(settings, Names::Underscores)?,
        // Azure lists metadata.
        both: Default::default(),
        kept_times: None,
    };
    Ok((store, turns))
}

fn unsupported(settings: &Settings, option: &str) -> String {
    format!(
        "the option \"{option}\" of store \"{}\" is not supported (an emulator is named by azure_endpoint, such as \
         http://127.0.0.1:10000/devstoreaccount1, and azure_allow_http)",
        settings.name
    )
}

/// Where the process itself runs on Azure, its environment says how to get credentials. What the options say goes before;
/// options with a key of their own are not mixed with the environment's.
fn from_environment(settings: &Settings) -> MicrosoftAzureBuilder {
    use AzureConfigKey as Key;
    let own_key = settings.options.iter().any(|(option, _)| {
        let own = [
            Key::AccessKey,
            Key::SasKey,
            Key::Token,
            Key::ClientSecret,
            Key::SkipSignature,
            Key::UseAzureCli,
            Key::CredentialType,
        ];
        option.to_ascii_lowercase().parse::<Key>().is_ok_and(|key| own.contains(&key))
    });
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in std::env::vars() {
        let key = match name.to_ascii_lowercase().as_str() {
            // Where the host gives out the tokens of its managed identity.
            "identity_endpoint" => Ok(Key::MsiEndpoint),
            lower if lower.starts_with("azure_") => lower.parse(),
            _ => continue,
        };
        let Ok(key) = key else { continue };
        let credential = matches!(
            key,
            Key::AccessKey
                | Key::SasKey
                | Key::Token
                | Key::ClientId
                | Key::ClientSecret
                | Key::AuthorityId
                | Key::FederatedTokenFile
                | Key::MsiEndpoint
        );
        let place = matches!(key, Key::AccountName | Key::AuthorityHost);
        if (credential && !own_key) || place {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// The account and the address of its blobs, as `object_store` makes them.
fn service(
    settings: &Settings,
    builder: &MicrosoftAzureBuilder,
    client: &ClientOptions,
    host: Option<&str>,
) -> Result<(String, String), String> {
    let value = |key| builder.get_config_value(&key);
    let (in_host, domain) = match host.and_then(|host| host.split_once('.')) {
        Some((account, domain)) => (Some(account.to_owned()), Some(domain)),
        None => (None, None),
    };
    let account = in_host
        .or_else(|| value(AzureConfigKey::AccountName))
        .ok_or_else(|| format!("store \"{}\" needs an account: set azure_storage_account_name", settings.name))?;
    let fabric = match domain {
        None => value(AzureConfigKey::UseFabricEndpoint).is_some_and(|text| text == "true"),
        Some("dfs.core.windows.net" | "blob.core.windows.net") => false,
        Some("dfs.fabric.microsoft.com" | "blob.fabric.microsoft.com") => true,
        Some(_) => {
            return Err(format!(
                "the URL of store \"{}\" must name its account as CONTAINER@ACCOUNT.dfs.core.windows.net; other \
                 addresses go to azure_endpoint",
                settings.name
            ));
        }
    };
    let service = match value(AzureConfigKey::Endpoint) {
        Some(endpoint) => endpoint,
        None if fabric => format!("https://{account}.blob.fabric.microsoft.com"),
        None => format!("https://{account}.blob.core.windows.net"),
    };
    check_address(settings, &service, client, "azure_endpoint", "azure_allow_http")?;
    Ok((account, service))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const KEY: (&str, &str) = ("azure_storage_account_key", "aHVudGVyMg==");
    const ACCOUNT: (&str, &str) = ("AZURE_STORAGE_ACCOUNT_NAME", "acc");

    fn read(place: &str, path: &str, options: &[(&str, &str)]) -> Result<ObjectBacked, String> {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), Secret::new((*v).to_owned()))).collect();
        open(&Settings { name: "blobs".to_owned(), url: String::new(), options }, "az", place, path)
            .map(|(store, _)| store)
    }

    fn refused(place: &str, path: &str, options: &[(&str, &str)]) -> String {
        let message = read(place, path, options).err().unwrap_or_else(|| panic!("{place} {options:?} was taken"));
        assert!(message.contains("\"blobs\"") && !message.contains("aHVudGVyMg"), "{message}");
        message
    }

    /// Where requests go to.
    fn address(place: &str, options: &[(&str, &str)]) -> String {
        let store = read(place, "", options).unwrap();
        let text = format!("{:?}", store.extras);
        assert!(!text.contains("aHVudGVyMg") && !text.contains("hunter2"), "{text}");
        text.split("address: \"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    #[test]
    fn addresses_are_those_of_the_account_or_the_endpoint() {
        assert_eq!(address("c", &[ACCOUNT, KEY]), "https://acc.blob.core.windows.net/c");
        assert_eq!(address("c@other.dfs.core.windows.net", &[ACCOUNT, KEY]), "https://other.blob.core.windows.net/c");
        assert_eq!(
            address("c@onelake.dfs.fabric.microsoft.com", &[KEY]),
            "https://onelake.blob.fabric.microsoft.com/c"
        );
        let emulator = ("azure_endpoint", "http://127.0.0.1:1/acc/");
        let allowed = ("azure_allow_http", "true");
        assert_eq!(address("c", &[ACCOUNT, KEY, emulator, allowed]), "http://127.0.0.1:1/acc/c");
        let same = ("azure_storage_endpoint", "https://acc.example");
        assert_eq!(address("c", &[ACCOUNT, KEY, same]), "https://acc.example/c");
    }

    #[test]
    fn options_that_do_not_fit_are_refused() {
        let emulator = ("azure_endpoint", "http://127.0.0.1:1/acc");
        assert!(refused("c", "", &[ACCOUNT, KEY, emulator]).contains("azure_allow_http"));
        assert!(refused("c", "", &[ACCOUNT, KEY, ("azure_endpoint", "acc.example")]).contains("https://"));
        assert!(refused("c", "", &[ACCOUNT, ("azure_use_emulator", "true")]).contains("azure_endpoint"));
        refused("c", "", &[ACCOUNT, KEY, ("azure_storage_encryption_key", "x")]);
        refused("c", "", &[ACCOUNT, ("azure_storage_account_key", "aHVudGVyMg")]);
        refused("c", "", &[ACCOUNT, KEY, ("azure_container_name", "other")]);
        refused("c@acc.example.org", "", &[ACCOUNT, KEY]);
        refused("c/..", "", &[ACCOUNT, KEY]);
        assert!(refused("c", "a%5Cb", &[ACCOUNT, KEY]).contains("backslash"));
        assert!(refused("c", "a./b", &[ACCOUNT, KEY]).contains("dot"));
    }
}
