//! A session from the request to its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apiserver::error::ApiError;
use http::HeaderMap;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use lariat_api::{
    ClusterId, RecordingPhase, SessionRecording, SessionRecordingSpec, SessionRecordingStatus,
};
use remotecommand::{Cast, Exit, Header, Peer, Session};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::recorder::Recorder;
use super::request::Asked;
use crate::authn::Identity;
use crate::edge::RequestContext;
use crate::random;
use crate::recordings::{Fault, Outcome, forget};
use crate::state::App;

/// Copy buffer of each direction, in bytes.
const BUFFER: usize = 32 * 1024;

/// How long a client may take to hear why a session ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long the store may take to make the object of a recording.
const STORE: Duration = Duration::from_secs(10);

/// Seconds after which a client may ask again whose session could not be recorded.
const RETRY_SECONDS: u32 = 10;

/// The recording of a session: its object, and its file. One that is dropped before it was finished is
/// of nothing, and taken away.
pub(in crate::kube_proxy) struct Recording {
    app: Arc<App>,
    cluster: String,
    name: String,
    began: jiff::Timestamp,
    asked: Asked,
    recorder: Option<Mutex<Recorder>>,
    /// Whether it ended because it could not be recorded any longer.
    unrecorded: AtomicBool,
}

/// Why bytes are not carried any further.
enum Broken {
    Connection(io::Error),
    Unrecorded(Fault),
}

impl Recording {
    /// Begins to record. When this returns, the object and the file are there.
    pub(in crate::kube_proxy) async fn begin(
        app: &Arc<App>,
        cluster: &ClusterId,
        asked: Asked,
        who: &Identity,
        context: &RequestContext,
    ) -> Result<Self, ApiError> {
        let now = app.clock.now();
        let stamp = now.strftime("%Y%m%d-%H%M%S");
        let name = format!("{stamp}-{:08x}", random::bits() & 0xffff_ffff);
        let object = SessionRecording {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            spec: spec(cluster, &asked, who, context),
            status: SessionRecordingStatus {
                started_at: Some(Time(now)),
                ..SessionRecordingStatus::default()
            },
            ..SessionRecording::default()
        };
        let mut recording = Self {
            app: Arc::clone(app),
            cluster: cluster.to_string(),
            name,
            began: now,
            asked,
            recorder: None,
            unrecorded: AtomicBool::new(false),
        };
        let begun = recording.open(&object).await;
        if let Err(why) = begun {
            app.recordings.count(Outcome::Refused);
            tracing::error!(cluster = %cluster, why, "a session is refused: it cannot be recorded");
            let message = format!("your sessions in this cluster must be recorded: {why}");
            return Err(ApiError::unavailable(message, RETRY_SECONDS));
        }
        context.audit.set_recording(&recording.name);
        Ok(recording)
    }

    async fn open(&mut self, object: &SessionRecording) -> Result<(), String> {
        let recordings: Api<SessionRecording> =
            Api::namespaced(self.app.own.clone(), &self.cluster);
        let params = PostParams::default();
        let made = timeout(STORE, recordings.create(&params, object)).await;
        let made = made.map_err(|_| "the store does not answer".to_owned())?;
        made.map_err(|error| format!("the store does not take it: {error}"))?;
        let (spec, asked) = (&object.spec, &self.asked);
        let title = format!("{} in {}/{}", spec.username, spec.pod_namespace, spec.pod);
        let session = json!(spec);
        let shown = spec.shown();
        let header = Header::new(self.began.as_second(), &shown, &title, &session);
        let file = self
            .app
            .recordings
            .create(&self.cluster, &self.name, &header.line())
            .await
            .map_err(|fault| fault.to_string())?;
        let cast = Cast::new(asked.terminal, asked.input);
        let recorder = Recorder::new(Session::new(asked.protocol), cast, file);
        self.recorder = Some(Mutex::new(recorder));
        Ok(())
    }

    /// Whether the cluster has chosen a protocol that can be recorded.
    ///
    /// # Errors
    /// 502 if not. Nothing has gone over the connection by then.
    pub(in crate::kube_proxy) fn accept(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.asked.accepts(headers) {
            return Ok(());
        }
        self.app.recordings.count(Outcome::Refused);
        let message = "your sessions in this cluster must be recorded: \
                       the cluster chose a protocol that cannot be";
        Err(super::super::errors::bad_gateway(message))
    }

    /// Carries bytes both ways until both have ended. What is carried is recorded first. Returns why it
    /// ended, if not in order.
    pub(in crate::kube_proxy) async fn carry(
        &self,
        client: impl AsyncRead + AsyncWrite,
        cluster: impl AsyncRead + AsyncWrite,
    ) -> Result<(), String> {
        let Some(recorder) = &self.recorder else {
            return Err("it is not recorded".to_owned());
        };
        let (mut client_reader, mut client_writer) = tokio::io::split(client);
        let (mut cluster_reader, mut cluster_writer) = tokio::io::split(cluster);
        let (to_client, to_cluster) = (AtomicBool::new(true), AtomicBool::new(true));
        let joined = tokio::try_join!(
            copy(
                Peer::Client,
                &mut client_reader,
                &mut cluster_writer,
                recorder,
                &to_cluster,
            ),
            copy(
                Peer::Cluster,
                &mut cluster_reader,
                &mut client_writer,
                recorder,
                &to_client,
            ),
        );
        let broken = match joined {
            Ok((there, back)) => there.and(back).map_err(Broken::Connection),
            Err(broken) => Err(broken),
        };
        let fault = match broken {
            Ok(()) => return Ok(()),
            // Clients leave as soon as they know how it ended.
            Err(Broken::Connection(_)) if recorder.lock().await.exit().is_some() => return Ok(()),
            Err(Broken::Connection(error)) => return Err(error.to_string()),
            Err(Broken::Unrecorded(fault)) => fault,
        };
        self.unrecorded.store(true, Ordering::Release);
        let why = format!("the session must be recorded, and cannot be any longer: {fault}");
        let (cluster, name) = (&self.cluster, &self.name);
        tracing::error!(cluster, name, %fault, "a session is ended: it cannot be recorded");
        let farewell = recorder.lock().await.farewell(&why);
        // A client that was being told something else would not understand it.
        if let Some(farewell) = farewell.filter(|_| to_client.load(Ordering::Acquire)) {
            let telling = async {
                client_writer.write_all(&farewell).await?;
                client_writer.shutdown().await?;
                // A connection that is dropped while its peer sends takes what was told along.
                tokio::io::copy(&mut client_reader, &mut tokio::io::sink()).await
            };
            // It ends all the same.
            let _ = timeout(FAREWELL, telling).await;
        }
        Err(why)
    }

    /// Writes down the end: in the file, and in the object. `why`, if not in order.
    pub(in crate::kube_proxy) async fn finish(mut self, why: &str) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        let mut recorder = recorder.into_inner();
        // From here on it is one of something.
        let name = std::mem::take(&mut self.name);
        let failed = match recorder.exit() {
            Some(Exit::Failed(message)) => message.clone(),
            _ => String::new(),
        };
        let reason = if why.is_empty() {
            failed
        } else {
            why.to_owned()
        };
        let mark = if reason.is_empty() { "end" } else { &reason };
        if let Err(fault) = recorder.finish(mark).await {
            let cluster = &self.cluster;
            tracing::warn!(cluster, name, %fault, "the end of a recording is not written");
        }
        let outcome = match self.unrecorded.load(Ordering::Acquire) {
            true => Outcome::Ended,
            false => Outcome::Recorded,
        };
        self.app.recordings.count(outcome);
        let lasted = SignedDuration::try_from(recorder.lasted()).unwrap_or_default();
        let status = SessionRecordingStatus {
            phase: RecordingPhase::Complete,
            started_at: Some(Time(self.began)),
            ended_at: Some(Time(
                self.began.saturating_add(lasted).unwrap_or(self.began),
            )),
            exit_code: match recorder.exit() {
                Some(Exit::Code(code)) => Some(*code),
                _ => None,
            },
            reason,
            size: i64::try_from(recorder.size()).unwrap_or(i64::MAX),
        };
        let recordings: Api<SessionRecording> =
            Api::namespaced(self.app.own.clone(), &self.cluster);
        let patch = Patch::Merge(json!({ "status": status }));
        let params = PatchParams::default();
        let patched = timeout(STORE, recordings.patch(&name, &params, &patch)).await;
        match patched {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(name, %error, "a recording has no end"),
            Err(_) => tracing::warn!(name, "a recording has no end: no store answers"),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        let (app, recorder) = (Arc::clone(&self.app), self.recorder.take());
        let cluster = std::mem::take(&mut self.cluster);
        let name = std::mem::take(&mut self.name);
        self.app.tasks.spawn(async move {
            if let Some(recorder) = recorder {
                recorder.into_inner().into_file().discard().await;
            }
            if let Err(error) = forget(&app, &cluster, &name).await {
                let error = error.message();
                tracing::warn!(
                    cluster,
                    name,
                    error,
                    "a recording of nothing is not deleted"
                );
            }
        });
    }
}

/// Carries bytes to the end of one direction: the outer error is one that ends the session, the inner
/// one of writing, which ends this direction only. `between` is whether what the other side has got ends
/// between two frames.
async fn copy(
    from: Peer,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    recorder: &Mutex<Recorder>,
    between: &AtomicBool,
) -> Result<io::Result<()>, Broken> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match reader.read(&mut buffer).await {
            Ok(length) if length > 0 => length,
            end => {
                let ended = writer.shutdown().await;
                return end.map(|_| ended).map_err(Broken::Connection);
            }
        };
        let bytes = &buffer[..length];
        let recorded = recorder.lock().await.take(from, bytes).await;
        let ends_between = recorded.map_err(Broken::Unrecorded)?;
        between.store(false, Ordering::Release);
        let written = match writer.write_all(bytes).await {
            Ok(()) => writer.flush().await,
            failed => failed,
        };
        between.store(ends_between, Ordering::Release);
        if written.is_err() {
            return Ok(written);
        }
    }
}

fn spec(
    cluster: &ClusterId,
    asked: &Asked,
    who: &Identity,
    context: &RequestContext,
) -> SessionRecordingSpec {
    SessionRecordingSpec {
        user_id: who.user.to_string(),
        username: who.username.clone(),
        token: who.token.to_string(),
        source_ip: context.connection.peer.ip().to_canonical().to_string(),
        audit_id: context.id.to_string(),
        cluster_name: cluster.to_string(),
        pod_namespace: asked.namespace.clone(),
        pod: asked.pod.clone(),
        container: asked.container.clone(),
        action: asked.action.clone(),
        command: asked.command.clone(),
        terminal: asked.terminal,
        input: asked.input,
    }
}
