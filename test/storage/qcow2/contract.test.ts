/** The contract of every block back end, over qcow2 images of several shapes. */
import { Qcow2Image } from '../../../src/backends/qcow2/image.js';
import { type BackendMaker, describeBlockBackend } from '../../support/block-backend-contract.js';
import { makeImage, qemuImg } from '../../support/qemu-img.js';
import { type Scratch, scratch } from '../../support/scratch.js';

function maker(
  make: (files: Scratch, content: Uint8Array) => string,
  options: { direct?: boolean } = {},
): BackendMaker {
  let files: Scratch;
  let path: string;
  return {
    async make(content) {
      files = scratch();
      path = make(files, content);
      return Qcow2Image.open(path, options);
    },
    reopen: () => Qcow2Image.open(path, options),
    async cleanUp() {
      files[Symbol.dispose]();
    },
  };
}

const shapes: readonly (readonly [string, ...string[]])[] = [
  ['a qcow2 image'],
  ['a qcow2 image of version 2 with small clusters', '-o', 'compat=0.10,cluster_size=512'],
  ['a compressed qcow2 image', '-c', '-o', 'compression_type=zstd'],
];
for (const [name, ...options] of shapes) {
  describeBlockBackend(
    name,
    maker((files, content) => makeImage(files, 'image', content, ...options)),
    { rounds: 100 },
  );
}
describeBlockBackend(
  'a qcow2 image over another, through direct I/O',
  maker(
    (files, content) => {
      makeImage(files, 'base', content);
      qemuImg('create', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', files.path('top'));
      return files.path('top');
    },
    { direct: true },
  ),
  { rounds: 60 },
);
