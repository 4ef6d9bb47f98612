import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BLOCK = Buffer.alloc(8192, 1); // a page of the write-ahead log

/** How long this disk takes to promise that 8 kB are safe, in microseconds. Says what a commit costs at least here. */
export function probeFsync(seconds: number, folder = tmpdir()): number {
  const file = join(folder, `farebox-fsync-probe-${process.pid}`);
  const descriptor = openSync(file, 'w');
  try {
    const begin = performance.now();
    let count = 0;
    for (; performance.now() - begin < seconds * 1000; count += 1) {
      writeSync(descriptor, BLOCK, 0, BLOCK.length, (count % 1024) * BLOCK.length);
      fdatasyncSync(descriptor);
    }
    return ((performance.now() - begin) * 1000) / count;
  } finally {
    closeSync(descriptor);
    rmSync(file);
  }
}
