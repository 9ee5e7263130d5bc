// A pthread that runs one vCPU. It knows no device and never calls JavaScript: after every exit that the register
// page does not answer it parks, writes to an eventfd, and sleeps on a futex until main resumes it.
//
// Ownership: while the state is kParked the kvm_run page and the vCPU's ioctls belong to main, while it is
// kRunning to the thread. Nothing else is shared but `Control`, whose words are all atomic.
#pragma once

#include <linux/kvm.h>
#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

namespace typevisor {

class RegisterPage;

enum State : uint32_t { kCreated = 0, kRunning = 1, kParked = 2, kEnded = 3 };

// Layout shared with src/vcpu/thread.ts; memory of an ArrayBuffer that main keeps alive.
struct Control {
  std::atomic<uint32_t> state;     // State; also the futex
  std::atomic<uint32_t> sleeping;  // thread: main must wake the futex after storing `state`
  std::atomic<uint32_t> spinning;  // main: it watches `state`, so parking needs no eventfd
  std::atomic<uint32_t> error;     // thread: errno of KVM_RUN, 0 when kvm_run tells the exit
  std::atomic<uint32_t> cpu;       // thread: the host CPU it last parked on
  std::atomic<uint32_t> stop;      // main: end at the next opportunity
  std::atomic<uint32_t> answered[2];  // thread: exits answered from the register page, 64 bits
};
static_assert(sizeof(Control) == 32);

class VcpuThread {
 public:
  VcpuThread(int vcpu_fd, kvm_run* run, RegisterPage* page, Control* control, int eventfd)
      : vcpu_fd_(vcpu_fd), run_(run), page_(page), control_(control), eventfd_(eventfd) {}
  ~VcpuThread() { Stop(); }

  // Main, before Start. The host CPUs that the thread may run on, as sched_setaffinity(2) takes them; empty for any.
  void SetAffinity(std::vector<uint8_t> mask) { affinity_ = std::move(mask); }
  // Main. Starts running the guest; returns an errno.
  int Start();
  // Main. Ends the sleep of a parked thread, after main has stored kRunning (or `stop`).
  void Wake();
  // Main. Busy-waits while the state is kRunning, at most `nanoseconds`; true when the thread parked.
  bool Spin(uint64_t nanoseconds);
  // Main. Gets the thread out of KVM_RUN: it parks with error EINTR. Not lost if the thread is just entering.
  void Kick();
  // Main. Ends the thread and waits for it; the VM may be closed afterwards. Idempotent.
  void Stop();

 private:
  static void* Main(void* self);
  void Run();
  // False when the thread must end.
  bool Park(uint32_t error);

  const int vcpu_fd_;
  kvm_run* const run_;
  RegisterPage* const page_;
  Control* const control_;
  const int eventfd_;
  std::vector<uint8_t> affinity_;
  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace typevisor
