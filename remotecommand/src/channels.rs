//! What is said on the channels of a session, whichever protocol carries them.

use serde::Deserialize;

use crate::exit::{Ending, Exit};
use crate::{Error, Peer};

/// Longest size of a window that is read, in bytes. Clients send some 30.
const LONGEST_SIZE: usize = 256;

/// Something that happened in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The client sent input.
    Stdin(&'a [u8]),
    /// The command wrote to its standard output.
    Stdout(&'a [u8]),
    /// The command wrote to its standard error. With a terminal, that goes to standard output.
    Stderr(&'a [u8]),
    /// The client's window has this size now.
    Resize(Size),
    /// The command has ended. At most once.
    Ended(Exit),
}

/// Size of a window, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// One of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdin,
    Stdout,
    Stderr,
    /// How it ended.
    Error,
    Resize,
}

impl Channel {
    /// Who writes to it.
    fn writer(self) -> Peer {
        match self {
            Self::Stdin | Self::Resize => Peer::Client,
            Self::Stdout | Self::Stderr | Self::Error => Peer::Cluster,
        }
    }
}

/// What is kept of a session's channels.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    ending: Ending,
    size: Vec<u8>,
}

impl Channels {
    /// Takes what somebody wrote to a channel.
    pub(crate) fn take(
        &mut self,
        from: Peer,
        channel: Channel,
        data: &[u8],
        told: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Error> {
        if channel.writer() != from {
            return Err(Error::Channel(match from {
                Peer::Client => "the client writes",
                Peer::Cluster => "the cluster writes",
            }));
        }
        if data.is_empty() {
            return Ok(());
        }
        match channel {
            Channel::Stdin => told(Event::Stdin(data)),
            Channel::Stdout => told(Event::Stdout(data)),
            Channel::Stderr => told(Event::Stderr(data)),
            Channel::Error => {
                if let Some(exit) = self.ending.take(data) {
                    told(Event::Ended(exit));
                }
            }
            Channel::Resize => self.resize(data, told)?,
        }
        Ok(())
    }

    /// Sizes are JSON objects one after the other, however they are cut.
    fn resize(&mut self, data: &[u8], told: &mut dyn FnMut(Event<'_>)) -> Result<(), Error> {
        for byte in data {
            if self.size.len() >= LONGEST_SIZE {
                return Err(Error::Size);
            }
            self.size.push(*byte);
            if *byte == b'}' {
                let size = serde_json::from_slice(&self.size).map_err(|_| Error::Size)?;
                told(Event::Resize(size));
                self.size.clear();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_however_they_are_cut() {
        let mut channels = Channels::default();
        let mut sizes = Vec::new();
        let mut told = |event: Event<'_>| match event {
            Event::Resize(size) => sizes.push((size.width, size.height)),
            other => panic!("{other:?}"),
        };
        for piece in [
            &b"{\"Width\":80,\"Hei"[..],
            b"ght\":24}\n{\"Width\":1,",
            b"\"Height\":2}",
        ] {
            let taken = channels.take(Peer::Client, Channel::Resize, piece, &mut told);
            assert_eq!(taken, Ok(()));
        }
        assert_eq!(sizes, [(80, 24), (1, 2)]);
    }

    #[test]
    fn sizes_are_bounded_and_whole() {
        for piece in [
            &[b' '; 300][..],
            b"{\"Width\":-1,\"Height\":2}",
            b"{}",
            b"x}",
        ] {
            let mut channels = Channels::default();
            let taken = channels.take(Peer::Client, Channel::Resize, piece, &mut |_| {});
            assert_eq!(taken, Err(Error::Size));
        }
    }

    #[test]
    fn nobody_writes_to_a_channel_of_the_other() {
        for (from, channel) in [
            (Peer::Cluster, Channel::Stdin),
            (Peer::Cluster, Channel::Resize),
            (Peer::Client, Channel::Stdout),
            (Peer::Client, Channel::Error),
        ] {
            let taken = Channels::default().take(from, channel, b"", &mut |_| {});
            assert!(matches!(taken, Err(Error::Channel(_))), "{channel:?}");
        }
    }
}
