//! The namespaces that every server has.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};

const NAMES: [&str; 3] = ["default", "kube-system", "cattle-system"];

/// Makes those that are not there.
///
/// # Errors
/// When the store fails.
pub(crate) async fn ensure(client: kube::Client) -> kube::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client);
    for name in NAMES {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        match namespaces.create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => drop(made?),
        }
    }
    Ok(())
}
