/**
 * A disk that lies on a web server: the guest's reads become HTTP range requests. Read-only; to let a guest write, put an
 * overlay on it.
 *
 *   const vm = await VirtualMachine.start({ kernel, disks: [await httpDisk('https://example.org/rootfs.img')] });
 */
import type { BlockBackend } from '../../src/index.js'; // in a project of yours: from 'typevisor'

/** @throws Error when the server has no such file or no ranges */
export async function httpDisk(url: string | URL): Promise<BlockBackend> {
  const { ok, status, headers } = await fetch(url, { method: 'HEAD' });
  const size = Number(headers.get('content-length'));
  if (!ok || headers.get('accept-ranges') !== 'bytes' || size < 512) {
    throw new Error(`${url}: no file that can be read in ranges (HTTP ${status}, ${size} bytes)`);
  }
  // A disk must not change under its guest: from now on the server refuses if it is not the same file.
  const tag = headers.get('etag');

  return {
    size,
    readOnly: true,
    async read(offset, into) {
      const range = `bytes=${offset}-${offset + into.length - 1}`;
      const response = await fetch(url, { headers: { range, ...(tag && { 'if-match': tag }) } });
      if (response.status !== 206) {
        await response.body?.cancel();
        throw new Error(`${url}: HTTP ${response.status} for ${range}`);
      }
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (bytes.length !== into.length) throw new Error(`${url}: ${bytes.length} bytes for ${range}`);
      into.set(bytes);
    },
  };
}
