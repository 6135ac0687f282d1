//! From the link to the streams: every frame is checked against what may be.

use super::{
    Event, MOST_REFUSALS, Mux, MuxError, StreamId,
    frame::{Control, Item},
    stream::{Due, End},
};
use crate::stream::Class;
use bytes::Bytes;

impl Mux {
    /// Takes in bytes of the link.
    ///
    /// # Errors
    ///
    /// The peer broke the rules; the session must end.
    pub fn receive(&mut self, mut bytes: Bytes) -> Result<(), MuxError> {
        while let Some(item) = self.reader.next(&mut bytes)? {
            match item {
                Item::Data(id, part) => self.data(id, part)?,
                Item::Control(id, control) => self.control(id, control)?,
            }
        }
        Ok(())
    }

    fn data(&mut self, id: StreamId, part: Bytes) -> Result<(), MuxError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.check_known(id);
        };
        match stream.receive.end {
            End::Open => {}
            // What was on its way when this side reset the stream.
            End::Reset(_) => return Ok(()),
            End::Finishing | End::Leaving | End::Finished => {
                return Err(MuxError::BehindEnd(id));
            }
        }
        stream.receive.data(id, part)?;
        if stream.released {
            stream.receive.discard();
        } else if std::mem::take(&mut stream.receive.reader_waits) {
            self.events.push_back(Event::Readable(id));
        }
        Ok(())
    }

    fn control(&mut self, id: StreamId, control: Control) -> Result<(), MuxError> {
        if let Control::Open { class, credit } = control {
            return self.opened(id, class, credit);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return self.check_known(id);
        };
        match control {
            Control::Open { .. } => {}
            Control::Fin => match stream.receive.end {
                End::Open => {
                    stream.receive.end = End::Finished;
                    self.wake_reader(id);
                    self.settle(id);
                }
                End::Reset(_) => {}
                End::Finishing | End::Leaving | End::Finished => {
                    return Err(MuxError::BehindEnd(id));
                }
            },
            Control::Reset(code) => {
                if stream.receive.end == End::Open {
                    stream.receive.end = End::Reset(code);
                }
                if stream.send.end != End::Finished {
                    self.queued -= stream.send.cut(code);
                }
                stream.due = Due {
                    listed: stream.due.listed,
                    ..Due::default()
                };
                let writer_waits = std::mem::take(&mut stream.send.writer_waits);
                if writer_waits {
                    self.events.push_back(Event::Writable(id));
                }
                self.wake_reader(id);
                self.settle(id);
            }
            Control::Credit(limit) => {
                stream.send.allow(limit);
                if stream.send.writer_waits && stream.send.is_covered() {
                    stream.send.writer_waits = false;
                    self.events.push_back(Event::Writable(id));
                }
                self.enter(id);
            }
            Control::Class(class) => stream.send.pace.set(class),
        }
        Ok(())
    }

    fn opened(&mut self, id: StreamId, class: Class, credit: u32) -> Result<(), MuxError> {
        if id.0 != self.next_peer {
            return Err(MuxError::BadStream(id));
        }
        self.next_peer = id.0.checked_add(2).ok_or(MuxError::BadStream(id))?;
        if self.peer >= self.config.peer_streams {
            if self.refusals.len() >= MOST_REFUSALS {
                return Err(MuxError::Flood);
            }
            self.refusals.push_back(id);
            return Ok(());
        }
        self.peer += 1;
        let mut stream = self.stream(class);
        stream.send.allow(credit.into());
        stream.due.credit = stream.receive.widen();
        let widened = stream.due.credit;
        self.streams.insert(id, stream);
        if widened {
            self.list(id);
        }
        self.events.push_back(Event::Opened(id));
        Ok(())
    }

    /// Frames for a stream that is gone are late; for one that never was they are a fault.
    fn check_known(&self, id: StreamId) -> Result<(), MuxError> {
        let own = id.0 % 2 == self.next_own % 2;
        let next = if own { self.next_own } else { self.next_peer };
        if id.0 == 0 || id.0 >= next {
            return Err(MuxError::BadStream(id));
        }
        Ok(())
    }

    fn wake_reader(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && std::mem::take(&mut stream.receive.reader_waits)
        {
            self.events.push_back(Event::Readable(id));
        }
    }
}
