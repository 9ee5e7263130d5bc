/** Hosts that will not do: each said in one line with what to do about it, and exit code 69. */
import { existsSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { type Finished, vmm } from '../support/command.js';
import { Folder } from '../support/folder.js';
import { bzImage, elfImage, SMALL_ELF } from '../support/images.js';

const folder = new Folder();
afterAll(() => folder[Symbol.dispose]());

const guest = folder.guest('hlt', 'hlt');
/** Runs the command after `script` changed its view of the file system. */
const inNamespace = (script: string): string[] => ['unshare', '-m', 'sh', '-c', `${script}; exec "$@"`, 'sh'];

/** ioctl(2) that denies one capability (linux/kvm.h: KVM_CHECK_EXTENSION). The monitor's own calls go through it. */
const withoutCapability = (name: string): Record<string, string> => {
  const source = `
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <linux/kvm.h>
    #include <stdarg.h>
    int ioctl(int fd, unsigned long request, ...) {
      va_list list;
      va_start(list, request);
      long argument = va_arg(list, long);
      va_end(list);
      if (request == KVM_CHECK_EXTENSION && argument == ${name}) return 0;
      static int (*real)(int, unsigned long, ...);
      if (!real) real = dlsym(RTLD_NEXT, "ioctl");
      return real(fd, request, argument);
    }`;
  return { LD_PRELOAD: folder.program(`without-${name}.so`, source, ['-shared', '-fPIC']) };
};

const expectRefusal = (result: Finished, says: RegExp): void => {
  expect(result.stderr).toMatch(says);
  expect(result.stderr.trimEnd().split('\n')).toHaveLength(1);
  expect(result).toMatchObject({ code: 69, stdout: '' });
};

describe('a host that', () => {
  it('has no /dev/kvm', async () => {
    const wrapper = inNamespace(
      'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9',
    );
    expectRefusal(await vmm(['--flat', guest], { wrapper }), /^vmm: \/dev\/kvm: no KVM on this machine .*\(/);
    const checkup = await vmm(['doctor'], { wrapper });
    expect(checkup.stdout).toMatch(/^no {3}\/dev\/kvm: /m);
    expect(checkup.code).toBe(69);
  });

  it.each(['/dev/null', '/etc', '/etc/passwd'])('has %s in the place of /dev/kvm', async (other) => {
    // A folder cannot be bound over a file: there the device goes first.
    const clear =
      other === '/etc' ? 'mount -t tmpfs none /dev && mkdir /dev/kvm && mknod /dev/null c 1 3; ' : '';
    const wrapper = inNamespace(`${clear}mount --bind ${other} /dev/kvm`);
    expectRefusal(await vmm(['--flat', guest], { wrapper }), /^vmm: \/dev\/kvm is not a KVM device \(/);
  });

  it('does not let this user have it', async () => {
    const wrapper = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--'];
    const result = await vmm(['--flat', guest], { wrapper });
    expectRefusal(result, /^vmm: \/dev\/kvm: permission denied \(.*group/);
  });

  it('has a KVM without a capability that the monitor needs', async () => {
    const env = withoutCapability('KVM_CAP_IOEVENTFD');
    const says = /lacks KVM_CAP_IOEVENTFD \(device doorbells\) \(use a host with Linux/;
    expectRefusal(await vmm(['--flat', guest], { env }), says);
    const checkup = await vmm(['doctor'], { env });
    expect(checkup.stdout).toMatch(/^no {3}capabilities: missing: KVM_CAP_IOEVENTFD/m);
    expect(checkup.code).toBe(69);
    // The same shim denying what nobody asks for changes nothing: it was the capability, not the shim.
    expect(await vmm(['--flat', guest], { env: withoutCapability('KVM_CAP_NR_MEMSLOTS') })).toMatchObject({
      code: 0,
      stderr: '',
    });
  });

  it.runIf(existsSync('/sys/module/kvm_pvm'))(
    'emulates guest kernel code, for kernels that are not made for it',
    async () => {
      const foreign = folder.file('vmlinux', elfImage(SMALL_ELF));
      const why =
        /^vmm: this kernel cannot run on this host's KVM, which emulates guest kernel code .*: SYSCALL stays .* \(use the lean kernel/;
      expectRefusal(await vmm(['--kernel', foreign]), why);
      const compressed = folder.file('bzImage', bzImage());
      expectRefusal(
        await vmm(['--kernel', compressed]),
        /: it would unpack itself in an emulator for minutes, .* \(use the lean kernel/,
      );
    },
  );
});
