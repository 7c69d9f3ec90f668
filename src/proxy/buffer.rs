//! Buffers that are lent: a connection that waits holds its unread bytes and nothing else.
//!
//! Each thread keeps a few blocks; a connection takes one to read into and gives it back before it waits for the peer.
//! Ten thousand connections that send a byte each therefore cost ten thousand bytes, not ten thousand blocks.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Size of a block, and with it the most a connection reads at once.
pub(crate) const BLOCK: usize = 64 * 1024;
/// What is read at once for somebody who is slow to take it: that much may have to be held.
pub(crate) const SMALL_READ: usize = 16 * 1024;
/// Blocks a thread keeps for the next borrower: 1 MiB.
const KEPT: usize = 16;

thread_local! {
    static BLOCKS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn lend() -> Box<[u8]> {
    BLOCKS.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice())
}

fn give_back(block: Box<[u8]>) {
    if block.len() == BLOCK {
        BLOCKS.with_borrow_mut(|kept| {
            if kept.len() < KEPT {
                kept.push(block);
            }
        });
    }
}

/// Bytes received and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The unused bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks the first `n` unused bytes as used.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Lets `read` fill the free part of a block, at most `most` bytes of it. `Ok(0)` is the peer's end;
    /// [`io::ErrorKind::StorageFull`] means that bytes must be used before more can be read.
    pub(crate) fn fill(&mut self, most: usize, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
        self.make_room();
        let limit = self.end.saturating_add(most).min(self.memory.len());
        let free = self.memory.get_mut(self.end..limit).unwrap_or_default();
        if free.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let n = read(free)?;
        self.end = self.end.saturating_add(n).min(limit);
        Ok(n)
    }

    /// The same from a stream. The block is given back unless something has been read.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<usize>> {
        let filled = self.fill(most, |free| {
            let mut free = ReadBuf::new(free);
            match Pin::new(from).poll_read(cx, &mut free) {
                Poll::Ready(read) => read.map(|()| free.filled().len()),
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        });
        if !matches!(filled, Ok(1..)) {
            self.rest();
        }
        match filled {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            filled => Poll::Ready(filled),
        }
    }

    /// Gives the block back before a wait, keeping the unused bytes in exactly as much memory as they need.
    pub(crate) fn rest(&mut self) {
        if self.memory.len() == BLOCK {
            let unused = Box::from(self.bytes());
            let block = std::mem::replace(&mut self.memory, unused);
            self.end -= self.start;
            self.start = 0;
            give_back(block);
        }
    }

    fn make_room(&mut self) {
        if self.memory.len() != BLOCK {
            let mut block = lend();
            let unused = self.bytes();
            let len = unused.len();
            if let Some(front) = block.get_mut(..len) {
                front.copy_from_slice(unused);
            }
            self.memory = block;
            self.start = 0;
            self.end = len;
        } else if self.end == BLOCK && self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use tokio::io::AsyncWrite;

    use super::{BLOCK, Buffer};

    fn put(buffer: &mut Buffer, bytes: &[u8]) -> usize {
        buffer
            .fill(usize::MAX, |free| {
                let n = free.len().min(bytes.len());
                free[..n].copy_from_slice(&bytes[..n]);
                Ok(n)
            })
            .unwrap()
    }

    #[test]
    fn bytes_survive_rest_and_consume() {
        let mut buffer = Buffer::default();
        assert_eq!(put(&mut buffer, b"hello world"), 11);
        buffer.consume(6);
        buffer.rest();
        assert_eq!(buffer.memory.len(), 5, "holds only what is unused");
        assert_eq!(buffer.bytes(), b"world");
        put(&mut buffer, b"!");
        assert_eq!(buffer.bytes(), b"world!");
        buffer.consume(100);
        assert!(buffer.is_empty());
        buffer.rest();
        assert_eq!(buffer.memory.len(), 0);
    }

    #[test]
    fn a_full_block_takes_nothing_more_until_bytes_are_used() {
        let mut buffer = Buffer::default();
        assert_eq!(put(&mut buffer, &vec![1; BLOCK + 5]), BLOCK);
        let full = buffer.fill(1, |_| Ok(1)).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        buffer.consume(BLOCK - 2);
        assert_eq!(put(&mut buffer, b"xy"), 2);
        assert_eq!(buffer.bytes(), &[1, 1, b'x', b'y']);
    }

    #[test]
    fn a_block_is_held_only_for_what_was_read() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut here, mut there) = tokio::io::duplex(64);
        let mut buffer = Buffer::default();
        assert!(buffer.poll_fill(&mut cx, 3, &mut here).is_pending());
        assert_eq!(buffer.memory.len(), 0);
        assert!(Pin::new(&mut there).poll_write(&mut cx, b"hello").is_ready());
        assert!(matches!(buffer.poll_fill(&mut cx, 3, &mut here), Poll::Ready(Ok(3))));
        assert_eq!((buffer.memory.len(), buffer.bytes()), (BLOCK, &b"hel"[..]));
        drop(there);
        assert!(matches!(buffer.poll_fill(&mut cx, 3, &mut here), Poll::Ready(Ok(2))));
        buffer.consume(5);
        assert!(matches!(buffer.poll_fill(&mut cx, 3, &mut here), Poll::Ready(Ok(0))));
        assert_eq!(buffer.memory.len(), 0, "an end holds nothing: a half-closed tunnel may stand for long");
    }
}
