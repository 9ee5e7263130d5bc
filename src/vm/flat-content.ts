/**
 * A flat guest's content: an image as it is, and its first state.
 * Runs on: main.
 */
import { gpa } from '../base/units.js';
import { planFlat, writeFlatTables } from '../boot/flat.js';
import { ramRanges } from '../boot/layout.js';
import { type ContentPlanner, copyLoads } from './content.js';
import { openGuestFile } from './guest-file.js';

export const planFlatContent: ContentPlanner = (config, files) => {
  const image = files.use(openGuestFile('flat', config.kernel));
  const { load, entry, mode } = config.flat!;
  const plan = planFlat(
    image.size,
    { load: gpa(load), entry: gpa(entry), mode },
    ramRanges(config.memory.size),
  );
  return () => ({
    entry: plan.entry,
    cmdline: undefined,
    notices: [],
    pit: config.flat!.irqchip, // as promised: nobody knows what the guest uses
    fill(machine) {
      copyLoads(image, plan.loads, machine);
      writeFlatTables(machine.ram.memory, plan);
    },
  });
};
