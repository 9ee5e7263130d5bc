// The register page: accesses that a vCPU thread answers by itself (src/bus/register-page.ts has the meaning).
//
// Owner: main adds entries and flips their `action`; any vCPU thread reads them at any time. Entries are never
// removed, only disabled, so a lookup needs no lock: the key is published last (release) and read first (acquire).
#pragma once

#include <linux/kvm.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace typevisor {

enum class Space : uint32_t { kPio = 0, kMmio = 1 };
enum Action : uint32_t { kDisabled = 0, kReadWord = 1, kClearBits = 2, kPostByte = 3 };

// Bytes from the guest to main. Several vCPUs may post, one thread takes.
class ByteRing {
 public:
  ByteRing(uint32_t size, int eventfd) : mask_(size - 1), eventfd_(eventfd), data_(new uint8_t[size]) {}

  // vCPU threads. All of `bytes` or nothing: a false sends the access the ordinary way.
  bool Post(const uint8_t* bytes, uint32_t count);
  // Main. Takes at most `room` bytes. Once told, main must take until it gets 0: only then is it told again.
  uint32_t Take(uint8_t* into, uint32_t room);

 private:
  const uint32_t mask_;
  const int eventfd_;
  std::unique_ptr<uint8_t[]> data_;
  std::mutex posting_;
  std::atomic<uint32_t> head_{0};  // next byte to post, free running
  std::atomic<uint32_t> tail_{0};  // next byte to take, free running
};

class RegisterPage {
 public:
  static constexpr uint32_t kSlots = 256;  // a power of two; about a third of it is ever used
  static constexpr uint32_t kWords = 256;

  // `words` and `actions` are memory that main writes too (ArrayBuffers it keeps alive).
  RegisterPage(uint32_t* words, uint32_t* actions) : words_(words), actions_(actions) {}

  // Main. Returns the slot, or -1 when the page is full or the register taken.
  int Add(Space space, uint64_t address, uint32_t width, Action action, uint32_t operand);
  // Main. Returns the ring's number.
  uint32_t AddRing(uint32_t size, int eventfd);
  ByteRing& ring(uint32_t index) { return *rings_[index]; }
  bool has_ring(uint32_t index) const { return index < ring_count_; }
  // What an enabled slot does; main writes it to `actions`.
  Action action_of(uint32_t slot) const { return entries_[slot].action; }

  // vCPU threads. True when the exit in `run` has been answered in place.
  bool Answer(kvm_run* run);

 private:
  struct Entry {
    std::atomic<uint64_t> key{0};  // 0 is free
    Action action = kDisabled;
    uint32_t operand = 0;  // word or ring
  };

  bool Access(Space space, uint64_t address, uint32_t width, uint32_t count, bool is_write, uint8_t* data);
  int Find(uint64_t key) const;

  static constexpr uint32_t kRings = 8;
  uint32_t* const words_;
  uint32_t* const actions_;
  Entry entries_[kSlots];
  std::unique_ptr<ByteRing> rings_[kRings];
  uint32_t ring_count_ = 0;
};

}  // namespace typevisor
