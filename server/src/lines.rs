//! Lines of a body, as the events of a watch come.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;

use crate::edge::BoxError;

/// Lines of a body, none of which is read beyond a limit.
pub(crate) struct Lines<B> {
    body: B,
    /// Beginning of a line whose end has not come.
    read: BytesMut,
    /// Bytes of the longest line.
    longest: usize,
}

impl<B> Lines<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: B, longest: usize) -> Self {
        let read = BytesMut::new();
        Self {
            body,
            read,
            longest,
        }
    }

    /// The next line, without its end. `None` at the end of the body: what has no end is no line.
    ///
    /// # Errors
    /// Those of the body, and a line that is too long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        let mut searched = 0;
        loop {
            let found = self.read[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let line = self.read.split_to(searched + at);
                self.read.advance(1);
                if self.read.is_empty() {
                    // Nothing is kept while nothing comes.
                    self.read = BytesMut::new();
                }
                return Ok(Some(line.freeze()));
            }
            searched = self.read.len();
            if searched > self.longest {
                return Err(format!("a line is longer than {} bytes", self.longest).into());
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Some(data) = frame.map_err(Into::into)?.data_ref() {
                self.read.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    fn lines(
        pieces: &[&'static str],
        longest: usize,
    ) -> Lines<impl Body<Data = Bytes, Error = BoxError> + Unpin + use<>> {
        let frames: Vec<_> = pieces
            .iter()
            .map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        Lines::new(StreamBody::new(stream::iter(frames)), longest)
    }

    #[tokio::test]
    async fn lines_are_put_together_from_pieces() {
        let mut lines = lines(&["a", "b\nc", "\n\nd"], 10);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push(String::from_utf8(line.to_vec()).unwrap());
        }
        assert_eq!(read, ["ab", "c", ""]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_read_to_its_end() {
        let mut lines = lines(&["a\n", "bbbb", "bbbb", "bbbb\n"], 7);
        assert_eq!(lines.next().await.unwrap().unwrap(), "a");
        let error = lines.next().await.unwrap_err();
        assert!(error.to_string().contains("longer than 7"), "{error}");
        assert_eq!(lines.read.len(), 8);
    }
}
