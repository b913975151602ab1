//! Which events a sink takes, and in which form: from whole lines to whole lines, in the sink's thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::filter::Filter;
use super::rotation::Rotation;
use super::{Sink, Target};

/// Which events a sink takes, and in which form.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// Which ones.
    pub filter: Filter,
    /// In which form.
    pub format: Format,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The fields of AWS Transfer Family, and Lockgate's: the line as it was recorded.
    #[default]
    TransferFamily,
}

impl Shape {
    /// Whether lines pass as they are.
    fn is_plain(&self) -> bool {
        self.filter.takes_all() && self.format == Format::TransferFamily
    }
}

/// A sink behind a shape.
pub(super) struct Shaped {
    inner: Box<dyn Sink>,
    shape: Shape,
}

impl Shaped {
    /// Puts the shape before the sink, if it changes anything.
    pub(super) fn over(inner: Box<dyn Sink>, shape: &Shape) -> Box<dyn Sink> {
        if shape.is_plain() { inner } else { Box::new(Shaped { inner, shape: shape.clone() }) }
    }
}

impl Sink for Shaped {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn shape(&self, lines: Bytes, events: usize) -> (Bytes, usize) {
        let _ = events;
        let mut shaped = Vec::with_capacity(lines.len());
        let mut count = 0;
        for line in super::heading::lines(&lines) {
            if self.shape.filter.takes(line) {
                shaped.extend_from_slice(line);
                shaped.push(b'\n');
                count += 1;
            }
        }
        self.inner.shape(shaped.into(), count)
    }

    fn prepare(&mut self, again: bool) -> io::Result<Target> {
        self.inner.prepare(again)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.inner.settle()
    }

    fn rotation(&self) -> Option<Arc<Rotation>> {
        self.inner.rotation()
    }

    fn rotate(&mut self, last: u64) -> io::Result<()> {
        self.inner.rotate(last)
    }

    fn reopens(&self) -> bool {
        self.inner.reopens()
    }

    fn looks_again(&self) -> Option<Duration> {
        self.inner.looks_again()
    }

    fn close(&mut self) {
        self.inner.close();
    }
}
