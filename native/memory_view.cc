#include "memory_view.h"

#include <dlfcn.h>
#include <v8.h>

#include <cstring>

namespace typevisor {
namespace {

// Node-API has external ArrayBuffers too, but it hands V8 a deleter, and V8 counts what has one as memory that a
// garbage collection may free: 128 MB of guest RAM start one on the spot. V8's own interface can say "nobody's". It is
// looked up at run time, so that the addon still loads into a Node whose V8 has it no more, and is then without it.
struct V8 {
  decltype(&v8::Isolate::GetCurrent) current;
  std::unique_ptr<v8::BackingStore> (*wrap)(void*, size_t, v8::BackingStore::DeleterCallback, void*);
  v8::BackingStore::DeleterCallback nobody;
  v8::Local<v8::ArrayBuffer> (*create)(v8::Isolate*, std::shared_ptr<v8::BackingStore>);

  bool complete() const { return current && wrap && nobody && create; }
};

template <typename T>
void Find(T& function, const char* symbol) {
  function = reinterpret_cast<T>(dlsym(RTLD_DEFAULT, symbol));
}

const V8& FindV8() {
  static const V8 found = [] {
    V8 v8{};
    Find(v8.current, "_ZN2v87Isolate10GetCurrentEv");
    Find(v8.wrap, "_ZN2v811ArrayBuffer15NewBackingStoreEPvmPFvS1_mS1_ES1_");
    Find(v8.nobody, "_ZN2v812BackingStore12EmptyDeleterEPvmS1_");
    Find(v8.create, "_ZN2v811ArrayBuffer3NewEPNS_7IsolateESt10shared_ptrINS_12BackingStoreEE");
    return v8;
  }();
  return found;
}

}  // namespace

Napi::Value ViewMemory(const Napi::CallbackInfo& info) {
  auto* address = reinterpret_cast<void*>(static_cast<uintptr_t>(info[0].As<Napi::Number>().Int64Value()));
  const auto length = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  const V8& v8 = FindV8();
  if (!v8.complete()) return Napi::ArrayBuffer::New(info.Env(), address, length);
  std::shared_ptr<v8::BackingStore> store = v8.wrap(address, length, v8.nobody, nullptr);
  v8::Local<v8::ArrayBuffer> buffer = v8.create(v8.current(), std::move(store));
  // Node-API's values are V8's handles (js_native_api_v8.h, JsValueFromV8LocalValue).
  napi_value value;
  static_assert(sizeof buffer == sizeof value);
  memcpy(&value, &buffer, sizeof value);
  return Napi::Value(info.Env(), value);
}

}  // namespace typevisor
