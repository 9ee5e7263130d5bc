/** `npm start`, `npm run guest` and `npm run rootfs`: sets up what they need on a fresh clone, then runs the one named. */
import { SetupError, setUp } from '../native/setup.mjs';

const COMMANDS = {
  start: async () => (await import('./start.ts')).start,
  guest: async () => (await import('./guest.ts')).guest,
  rootfs: async () => (await import('./rootfs-command.ts')).rootfs,
};

const [name, ...args] = process.argv.slice(2);
try {
  await setUp();
  const { register } = await import('tsx/esm/api');
  register();
  const command = await COMMANDS[name]();
  process.exitCode = await command(args);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  process.stderr.write(`${name}: ${error.message}\n`);
  process.exitCode = 70;
}
