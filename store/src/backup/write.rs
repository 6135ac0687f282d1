//! Taking a backup.

use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{BackupError, END, ENTRY, FORMAT, MAGIC, Summary};
use crate::{Entry, Range, Store};

/// How many entries are read at once: few enough that their values are no burden when they come
/// from etcd, and enough that a store in memory is not asked too often what remains.
const PAGE: usize = 1000;

/// Writes a backup of `store`, as it is now, to `out`. Writers of the store are not held up. Not
/// cancellation-safe: what was written so far is no backup.
///
/// # Errors
/// When the store cannot be read, or compacts the revision that is being copied; when `out`
/// cannot be written.
pub async fn write(
    store: &dyn Store,
    out: impl AsyncWrite + Unpin,
) -> Result<Summary, BackupError> {
    let mut range = Range {
        limit: Some(PAGE),
        ..Range::default()
    };
    let mut page = store.range(range.clone()).await?;
    range.revision = Some(page.revision);
    let mut summary = Summary {
        revision: page.revision,
        entries: 0,
    };
    let mut out = Hashed {
        out,
        hash: Sha256::new(),
    };
    out.put(MAGIC).await?;
    out.put(&FORMAT.to_be_bytes()).await?;
    out.put(&summary.revision.0.to_be_bytes()).await?;
    loop {
        for entry in &page.entries {
            out.put(&head(entry)).await?;
            out.put(&entry.key).await?;
            out.put(&entry.value).await?;
            summary.entries += 1;
        }
        if page.remaining == 0 {
            break;
        }
        range.after = page.entries.last().map(|entry| entry.key.clone());
        page = store.range(range.clone()).await?;
    }
    out.put(&[END]).await?;
    out.put(&summary.entries.to_be_bytes()).await?;
    let hash = out.hash.finalize();
    out.out.write_all(&hash).await?;
    out.out.flush().await?;
    Ok(summary)
}

/// What stands before the key and the value of an entry.
fn head(entry: &Entry) -> Vec<u8> {
    // The limits of the store are far below 4 GiB.
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut head = vec![ENTRY];
    head.extend(length(&entry.key));
    head.extend(length(&entry.value));
    for number in [entry.created.0, entry.modified.0, entry.version] {
        head.extend(number.to_be_bytes());
    }
    head
}

struct Hashed<W> {
    out: W,
    hash: Sha256,
}

impl<W: AsyncWrite + Unpin> Hashed<W> {
    async fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes).await
    }
}
