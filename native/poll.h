// Poll: calls a JavaScript function when a descriptor is readable. It hands over nothing and makes no object for it: a doorbell
// that rings a hundred thousand times a second must cost little more than its callback.
//
// The rule: what the event loop holds (Watch) lives until uv_close() has called back, whatever becomes of the JavaScript object;
// the end of the environment closes it and waits.
// Runs on: the thread of the JavaScript environment that made it.
#pragma once

#include <napi.h>

namespace typevisor {

struct Watch;

class Poll : public Napi::ObjectWrap<Poll> {
 public:
  static Napi::Function Define(Napi::Env env);

  // new Poll(fd, counter, callback): `counter` says that fd is an eventfd, to be emptied before each call. Starts at once.
  explicit Poll(const Napi::CallbackInfo& info);
  ~Poll() override;

 private:
  void Start(const Napi::CallbackInfo& info);
  void Stop(const Napi::CallbackInfo& info);
  void Keep(const Napi::CallbackInfo& info);
  void Release(const Napi::CallbackInfo& info);
  // Idempotent, and the others do nothing after it. The descriptor may be closed at once.
  void Close(const Napi::CallbackInfo& info);

  Watch* watch_ = nullptr;
};

}  // namespace typevisor
