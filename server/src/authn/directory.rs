//! Who and what there is, in memory: users, tokens, registration tokens, clusters, and who may do what.
//! Fed by a watch of the store, so that no request waits for it.

mod narrow;
mod people;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use lariat_api::{
    AuthConfig, Cluster, ClusterId, ClusterRegistrationToken, Kind, Setting, Token, User,
    UserAttribute, UserId,
};
use store::{Entry, Follow, Followed, Revision, Store};
use tokio::sync::watch;

use super::identity::Identity;
use super::password::PASSWORDS;
use super::secret::SecretHash;
use super::token::{Bearer, TokenRecord};
use crate::authz::{Access, access_prefixes};
use crate::clock::Clock;
use crate::management::Number;
use crate::stored::{kind_of, prefix, readable};
use narrow::Narrow;
use people::People;

/// How long a writer waits for the directory to know what was written.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is no such token, or the secret is wrong.
    #[error("token is not known or was revoked")]
    Unknown,
    /// It is too old.
    #[error("token has expired; log in again")]
    Expired,
    /// It, or its user, is disabled.
    #[error("token or its user is disabled")]
    Disabled,
    /// Nobody used the login for too long.
    #[error("the login was not used for too long; log in again")]
    Idle,
    /// The login provider by which its user came is disabled.
    #[error("the login provider of this token is disabled; log in by another")]
    ProviderDisabled,
}

/// The directory. Lookups take a short lock and never wait.
#[derive(Debug)]
pub struct Directory {
    content: RwLock<Content>,
    revision: watch::Sender<Revision>,
    /// How often somebody may do more or less than before.
    access_changes: watch::Sender<u64>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Content {
    keys: HashSet<Bytes>,
    users: HashMap<UserId, Arc<User>>,
    /// Hashes of passwords in PHC form.
    passwords: HashMap<UserId, Arc<str>>,
    tokens: HashMap<String, Arc<TokenRecord>>,
    narrow: Narrow,
    registrations: HashMap<SecretHash, (String, String)>,
    /// The hashes of registration tokens by the tokens' keys.
    registration_hashes: HashMap<String, SecretHash>,
    clusters: HashMap<ClusterId, Arc<Cluster>>,
    /// By the public keys of their agents.
    agents: HashMap<String, ClusterId>,
    /// The values that apply.
    settings: HashMap<String, Arc<str>>,
    access: Access,
    people: People,
}

impl Directory {
    /// A directory of what is in the store now. [`Self::follow`] keeps it so.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(store: &dyn Store, clock: Clock) -> Result<Self, store::Error> {
        let directory = Self {
            content: RwLock::default(),
            revision: watch::Sender::new(Revision::ZERO),
            access_changes: watch::Sender::new(0),
            clock,
        };
        let (entries, revision) = store::read_all(store, &read()).await?;
        directory.replace(&entries, revision);
        Ok(directory)
    }

    /// Follows the store, through times in which it is away. Returns when it has stopped for good; to
    /// be dropped otherwise.
    pub async fn follow(self: Arc<Self>, store: Arc<dyn Store>) {
        let after = *self.revision.borrow();
        let mut store = Follow::after(store, Bytes::new(), after).reading(read());
        while let Some(next) = store.next().await {
            match next {
                Followed::All(entries, revision) => self.replace(&entries, revision),
                Followed::Changes(changes) => {
                    for change in &changes.changes {
                        self.write().set(&change.key, change.current.as_deref());
                    }
                    self.tell(changes.revision);
                }
            }
        }
    }

    /// Waits until the directory knows everything up to a revision, so that who wrote it can rely
    /// on it. Gives up after two seconds and returns false.
    pub async fn wait_for(&self, revision: Revision) -> bool {
        let mut seen = self.revision.subscribe();
        let caught_up = seen.wait_for(|seen| *seen >= revision);
        let caught_up = tokio::time::timeout(CATCH_UP, caught_up).await.is_ok();
        if !caught_up {
            tracing::warn!(%revision, "the directory is behind the store");
        }
        caught_up
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// When it is not accepted.
    pub fn authenticate(&self, bearer: Bearer<'_>) -> Result<Identity, TokenError> {
        let now = self.clock.now();
        let content = self.read();
        let token = content.tokens.get(bearer.name).ok_or(TokenError::Unknown)?;
        if !token.hash.matches(bearer.secret) {
            return Err(TokenError::Unknown);
        }
        if token.expires_at.is_some_and(|end| end <= now) {
            return Err(TokenError::Expired);
        }
        if token.is_session && content.is_idle(token, now) {
            return Err(TokenError::Idle);
        }
        let identity = content.identify(token)?;
        token.used(now);
        Ok(identity)
    }

    /// Who has the token of that name, if that, its user and the provider of its login are enabled. Not a
    /// use of it.
    pub(crate) fn identity_of(&self, token: &str) -> Option<Identity> {
        let content = self.read();
        content.identify(content.tokens.get(token)?).ok()
    }

    /// The tokens that are good for that cluster alone, with whose they are. Those that have expired are
    /// among them until they are deleted; those that are refused for another reason are not.
    pub(crate) fn tokens_for(&self, cluster: &ClusterId) -> Vec<(Arc<TokenRecord>, Identity)> {
        let now = self.clock.now();
        let content = self.read();
        let names = content.narrow.for_cluster(cluster);
        let tokens = names.filter_map(|name| content.tokens.get(name));
        let tokens = tokens.filter(|token| !(token.is_session && content.is_idle(token, now)));
        let good = tokens.filter_map(|token| {
            let identity = content.identify(token).ok()?;
            Some((Arc::clone(token), identity))
        });
        good.collect()
    }

    /// Somebody with the groups that they are in by now.
    pub(crate) fn as_of_now(&self, who: &Identity) -> Identity {
        let (groups, administrator) = self.read().standing(who.user.as_str());
        who.with_groups(groups, administrator)
    }

    /// Asks who may do what. Under a lock: to be short.
    pub(crate) fn access<T>(&self, ask: impl FnOnce(&Access) -> T) -> T {
        ask(&self.read().access)
    }

    /// A user by id.
    #[must_use]
    pub fn user(&self, id: &str) -> Option<Arc<User>> {
        self.read().users.get(id).cloned()
    }

    /// A user by the name used to log in, with the hash of the password. Users without a name are found
    /// by none.
    #[must_use]
    pub fn login(&self, username: &str) -> Option<(UserId, Arc<User>, Option<Arc<str>>)> {
        if username.is_empty() {
            return None;
        }
        let content = self.read();
        let (id, user) = (content.users.iter()).find(|(_, user)| user.username == username)?;
        let password = content.passwords.get(id).cloned();
        Some((id.clone(), Arc::clone(user), password))
    }

    /// The hash of a user's password.
    #[must_use]
    pub fn password(&self, user: &UserId) -> Option<Arc<str>> {
        self.read().passwords.get(user).cloned()
    }

    /// Whether there is any user.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.read().users.is_empty()
    }

    /// The users that are meant, in no order.
    #[must_use]
    pub fn users(&self, is_meant: impl Fn(&User) -> bool) -> Vec<(UserId, Arc<User>)> {
        let content = self.read();
        let meant = (content.users.iter()).filter(|(_, user)| is_meant(user));
        meant
            .map(|(id, user)| (id.clone(), Arc::clone(user)))
            .collect()
    }

    /// A cluster by id.
    #[must_use]
    pub fn cluster(&self, id: &ClusterId) -> Option<Arc<Cluster>> {
        self.read().clusters.get(id).cloned()
    }

    /// The cluster that an agent's key (in base64) is bound to.
    #[must_use]
    pub fn cluster_of_agent(&self, key: &str) -> Option<Arc<Cluster>> {
        let content = self.read();
        content.clusters.get(content.agents.get(key)?).cloned()
    }

    /// The value of a setting that applies. Empty if there is no such setting.
    #[must_use]
    pub fn setting(&self, name: &str) -> Arc<str> {
        let found = self.read().settings.get(name).cloned();
        found.unwrap_or_default()
    }

    /// Wakes whenever somebody may do more or less than before, by roles of this server.
    #[must_use]
    pub fn access_changes(&self) -> watch::Receiver<u64> {
        self.access_changes.subscribe()
    }

    /// Wakes whenever the directory has learnt something.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// All clusters, in no order.
    #[must_use]
    pub fn clusters(&self) -> Vec<Arc<Cluster>> {
        self.read().clusters.values().cloned().collect()
    }

    /// Namespace and name of the ClusterRegistrationToken with that token.
    #[must_use]
    pub fn registration(&self, token: &str) -> Option<(String, String)> {
        self.read()
            .registrations
            .get(&SecretHash::of(token))
            .cloned()
    }

    /// A token by name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<Arc<TokenRecord>> {
        self.read().tokens.get(name).cloned()
    }

    /// The tokens of those who came by a login provider, in no order.
    #[must_use]
    pub fn tokens_of(&self, provider: &str) -> Vec<Arc<TokenRecord>> {
        let content = self.read();
        let all = content.tokens.values();
        all.filter(|token| token.provider == provider)
            .cloned()
            .collect()
    }

    /// All tokens, in no order.
    #[must_use]
    pub fn tokens(&self) -> Vec<Arc<TokenRecord>> {
        self.read().tokens.values().cloned().collect()
    }

    /// Takes in everything, in place of what was known.
    fn replace(&self, entries: &[Arc<Entry>], revision: Revision) {
        let mut content = self.write();
        let current: HashSet<_> = entries.iter().map(|entry| entry.key.clone()).collect();
        let gone: Vec<_> = content.keys.difference(&current).cloned().collect();
        for key in gone {
            content.set(&key, None);
        }
        for entry in entries {
            content.set(&entry.key, Some(entry));
        }
        drop(content);
        self.tell(revision);
    }

    /// Wakes who waits for what was learnt.
    fn tell(&self, revision: Revision) {
        let changes = self.access(Access::changes);
        self.access_changes.send_if_modified(|known| {
            let is_new = *known != changes;
            *known = changes;
            is_new
        });
        self.revision.send_replace(revision);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The prefixes of the keys of what it knows.
fn read() -> Vec<Bytes> {
    let kinds = [
        prefix::<User>(),
        prefix::<Token>(),
        prefix::<Cluster>(),
        prefix::<ClusterRegistrationToken>(),
        prefix::<AuthConfig>(),
        prefix::<Setting>(),
    ];
    let kinds = kinds.into_iter().chain(access_prefixes()).map(Bytes::from);
    kinds.chain([PASSWORDS.into()]).collect()
}

impl Content {
    /// The groups of a user at login providers, and whether the user administers the server.
    fn standing(&self, user: &str) -> (Arc<[String]>, bool) {
        let groups = self.access.groups_of(user);
        let administrator = self.access.is_administrator(user, &groups);
        (groups, administrator)
    }

    /// Whether a login was not used for longer than the settings let it be.
    fn is_idle(&self, token: &TokenRecord, now: Timestamp) -> bool {
        let minutes = self.people.number(Number::SessionIdleTtl);
        let limit = SignedDuration::from_mins(i64::try_from(minutes).unwrap_or(i64::MAX / 60));
        now.duration_since(token.last_active()) >= limit
    }

    /// Who shows a token, if that, its user and the provider of its login are enabled.
    fn identify(&self, token: &TokenRecord) -> Result<Identity, TokenError> {
        let user = self.users.get(&token.user).ok_or(TokenError::Unknown)?;
        if !token.enabled || !user.enabled {
            return Err(TokenError::Disabled);
        }
        if !self.people.may_come_by(&token.provider) {
            return Err(TokenError::ProviderDisabled);
        }
        let (groups, administrator) = self.standing(token.user.as_str());
        let attribute = self.people.attribute(user);
        let known = attribute.and_then(|one| one.extra(&token.provider, UserAttribute::USERNAME));
        Ok(Identity::new(user, token, known, groups, administrator))
    }

    fn set(&mut self, key: &Bytes, entry: Option<&Entry>) {
        let Ok(text) = std::str::from_utf8(key) else {
            return;
        };
        let of_access = self.access.set(text, entry);
        if let Some(id) = text.strip_prefix(PASSWORDS) {
            self.set_password(id, entry);
        } else if !self.set_object(text, entry) && !of_access {
            return;
        }
        match entry {
            Some(_) => self.keys.insert(key.clone()),
            None => self.keys.remove(key),
        };
    }

    /// Whether it is of a kind that is known here.
    fn set_object(&mut self, key: &str, entry: Option<&Entry>) -> bool {
        let Some((plural, name)) = kind_of(key) else {
            return false;
        };
        match plural {
            User::PLURAL => self.set_user(name, entry.and_then(readable)),
            Token::PLURAL => self.set_token(name, entry.and_then(readable).as_ref()),
            Cluster::PLURAL => self.set_cluster(name, entry.and_then(readable)),
            ClusterRegistrationToken::PLURAL => {
                self.set_registration(name, entry.and_then(readable));
            }
            AuthConfig::PLURAL => self.set_auth_config(name, entry.and_then(readable)),
            UserAttribute::PLURAL => {
                self.wake_clusters_of(name);
                self.people.set_attribute(name, entry.and_then(readable));
            }
            Setting::PLURAL => {
                let setting = entry.and_then(readable);
                self.people.set_setting(name, setting.as_ref());
                self.set_setting(name, setting.as_ref());
            }
            _ => return false,
        }
        true
    }

    fn set_user(&mut self, id: &str, mut user: Option<User>) {
        if let Some(user) = &mut user {
            user.metadata.managed_fields = None;
            // Who is being deleted is gone, whatever its object waits for.
            user.enabled &= user.metadata.deletion_timestamp.is_none();
        }
        let enabled = user.as_ref().is_some_and(|user| user.enabled);
        self.wake_clusters_of(id);
        let before = match (id.parse::<UserId>(), user) {
            (Ok(id), Some(user)) => self.users.insert(id, Arc::new(user)),
            _ => self.users.remove(id),
        };
        if before.is_none_or(|before| before.enabled == enabled) {
            return;
        }
        self.toggle_tokens(enabled, |token| token.user.as_str() == id);
    }

    /// Ends what is open with some tokens; from now on they are good, or are not.
    fn toggle_tokens(&mut self, enabled: bool, are_meant: impl Fn(&TokenRecord) -> bool) {
        for token in self.tokens.values_mut().filter(|token| are_meant(token)) {
            token.ended.cancel();
            if let Some(cluster) = &token.cluster {
                self.access.changed_in(cluster.as_str());
            }
            if enabled {
                *token = Arc::new(token.renewed());
            }
        }
    }

    fn set_password(&mut self, id: &str, entry: Option<&Entry>) {
        let hash = entry.and_then(|entry| std::str::from_utf8(&entry.value).ok());
        match (id.parse::<UserId>(), hash) {
            (Ok(id), Some(hash)) => self.passwords.insert(id, hash.into()),
            _ => self.passwords.remove(id),
        };
    }

    /// Clusters know whose the tokens are that are good for them alone.
    fn wake_clusters_of(&self, user: &str) {
        let id = user.parse::<UserId>().ok();
        for cluster in id.iter().flat_map(|id| self.narrow.clusters_of(id)) {
            self.access.changed_in(cluster.as_str());
        }
    }

    fn set_token(&mut self, name: &str, token: Option<&Token>) {
        let before = self.tokens.remove(name);
        if let Some(before) = &before {
            self.narrow.remove(before);
            self.wake_cluster_of(before);
        }
        let Some(record) = token.and_then(TokenRecord::new) else {
            if let Some(before) = before {
                before.ended.cancel();
            }
            return;
        };
        let record = match before {
            Some(before) => record.succeed(&before),
            None => record,
        };
        self.narrow.add(&record);
        self.wake_cluster_of(&record);
        self.tokens.insert(name.to_owned(), Arc::new(record));
    }

    fn wake_cluster_of(&self, token: &TokenRecord) {
        if let Some(cluster) = &token.cluster {
            self.access.changed_in(cluster.as_str());
        }
    }

    fn set_cluster(&mut self, id: &str, cluster: Option<Cluster>) {
        let agent = |cluster: &Cluster| Some(cluster.agent()?.public_key.clone());
        let before = self.clusters.remove(id);
        let followed = |cluster: &Cluster| {
            let recording = cluster.spec.session_recording.as_ref();
            let recorded = recording.is_some_and(|recording| recording.required);
            (cluster.endpoint().is_some(), recorded, agent(cluster))
        };
        if before.as_deref().map(followed) != cluster.as_ref().map(followed) {
            self.access.changed_in(id);
        }
        if let Some(key) = before.and_then(|before| agent(&before)) {
            self.agents.remove(&key);
        }
        if let (Ok(id), Some(mut cluster)) = (id.parse::<ClusterId>(), cluster) {
            cluster.metadata.managed_fields = None;
            if let Some(key) = agent(&cluster) {
                self.agents.insert(key, id.clone());
            }
            self.clusters.insert(id, Arc::new(cluster));
        }
    }

    fn set_setting(&mut self, name: &str, setting: Option<&Setting>) {
        let before = match setting {
            Some(setting) => {
                let value = setting.effective().into();
                self.settings.insert(name.to_owned(), value)
            }
            None => self.settings.remove(name),
        };
        if name == Setting::SYSTEM_NAMESPACES && before.as_ref() != self.settings.get(name) {
            self.access.wake_all();
        }
    }

    fn set_registration(&mut self, key: &str, token: Option<ClusterRegistrationToken>) {
        let Some((namespace, name)) = key.split_once('/') else {
            return;
        };
        if let Some(before) = self.registration_hashes.remove(key) {
            self.registrations.remove(&before);
        }
        let hash = token
            .and_then(|token| token.status)
            .and_then(|status| SecretHash::from_hex(&status.token_hash));
        if let Some(hash) = hash {
            self.registration_hashes.insert(key.to_owned(), hash);
            let place = (namespace.to_owned(), name.to_owned());
            self.registrations.insert(hash, place);
        }
    }
}
