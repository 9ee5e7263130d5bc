/**
 * The process that kill.test.ts kills: writes to an image as the plan of a seed says, group by group, and says on stdout
 * which group is known to be durable. `node --import tsx kill-writer.ts IMAGE SEED`
 */
import { writeSync } from 'node:fs';
import { Qcow2Image } from '../../../src/backends/qcow2/image.js';
import { stamp } from '../../support/sector-history.js';
import { killPlan } from './kill-plan.js';

const [path, seed] = process.argv.slice(2);
const image = await Qcow2Image.open(path!);
const plan = killPlan(Number(seed), image.size / 512);
writeSync(1, 'ready\n');
for (let group = 0; ; group += 1) {
  const { requests, flush } = plan();
  await Promise.all(
    requests.map(({ first, count, contents }) =>
      contents === 0
        ? image.writeZeroes(first * 512, count * 512, true)
        : image.write(first * 512, stamp(count, contents)),
    ),
  );
  if (!flush) continue;
  await image.flush();
  writeSync(1, `${group}\n`);
}
