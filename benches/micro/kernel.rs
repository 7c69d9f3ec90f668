//! What a look at the kernel's TCP costs, once a second.

use std::path::Path;

use criterion::Criterion;
use floodgate::kernel::view::Sources;

pub(crate) fn bench(c: &mut Criterion) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc/linux-6.18");
    let mut sources = Sources::open_at(&fixture);
    c.bench_function("kernel view: fixture of Linux 6.18", |b| b.iter(|| sources.read()));
    let mut live = Sources::open();
    c.bench_function("kernel view: this machine", |b| b.iter(|| live.read()));
}
