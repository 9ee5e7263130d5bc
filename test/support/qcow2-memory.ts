/** Opens qcow2 images that exist in memory only, and reads or writes a whole disk at once. */
import { Qcow2Image } from '../../src/backends/qcow2/image.js';
import { PowerLossFile } from './power-loss-file.js';

export interface MemoryImage {
  readonly image: Qcow2Image;
  readonly file: PowerLossFile;
}

export async function openInMemory(
  bytes: Uint8Array,
  options: { readOnly?: boolean } = {},
): Promise<MemoryImage> {
  const file = new PowerLossFile(bytes);
  return { image: await openFiles({ '/top': file }, options), file };
}

/** @param files a chain by path, the first one opened */
export function openFiles(
  files: Readonly<Record<string, PowerLossFile>>,
  { readOnly = false }: { readOnly?: boolean } = {},
): Promise<Qcow2Image> {
  return Qcow2Image.open(Object.keys(files)[0]!, {
    readOnly,
    files: {
      identify: async (path) => path,
      open: async (path) => {
        const file = files[path];
        if (!file) throw new Error(`no file ${path}`);
        return file;
      },
    },
  });
}

export async function readAll(image: Qcow2Image): Promise<Uint8Array> {
  const bytes = new Uint8Array(image.size).fill(0xee);
  await image.read(0, bytes);
  return bytes;
}
