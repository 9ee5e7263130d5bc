#include "poll.h"

#include <unistd.h>
#include <uv.h>

namespace typevisor {

struct Watch {
  uv_poll_t handle{};
  napi_env env = nullptr;
  napi_ref callback = nullptr;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  // Where the object knows it by; null once nobody does.
  Watch** owner = nullptr;
  int fd = -1;
  bool counter = false;
};

namespace {

void OnClosed(uv_handle_t* handle) {
  auto* watch = static_cast<Watch*>(handle->data);
  // Ends the wait of an environment that is going down.
  napi_remove_async_cleanup_hook(watch->hook);
  delete watch;
}

void BeginClose(Watch* watch) {
  auto* handle = reinterpret_cast<uv_handle_t*>(&watch->handle);
  if (uv_is_closing(handle)) return;
  if (watch->owner != nullptr) *watch->owner = nullptr;
  // Also takes the descriptor out of the loop.
  uv_close(handle, OnClosed);
  napi_delete_reference(watch->env, watch->callback);
  napi_async_destroy(watch->env, watch->context);
}

void OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* data) { BeginClose(static_cast<Watch*>(data)); }

// An error is a call too: whoever reads the descriptor then meets it.
void OnReadable(uv_poll_t* handle, int, int) {
  auto* watch = static_cast<Watch*>(handle->data);
  // The callback may close the watch, but not free it: that takes a turn of the loop.
  napi_env env = watch->env;
  if (watch->counter) {
    // Emptied first: a ring during the callback must ring again.
    uint64_t count;
    (void)!read(watch->fd, &count, sizeof count);
  }
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback, receiver;
  if (napi_get_reference_value(env, watch->callback, &callback) == napi_ok &&
      napi_get_global(env, &receiver) == napi_ok &&
      napi_make_callback(env, watch->context, receiver, callback, 0, nullptr, nullptr) == napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace

Napi::Function Poll::Define(Napi::Env env) {
  return DefineClass(env, "Poll",
                     {InstanceMethod<&Poll::Start>("start"), InstanceMethod<&Poll::Stop>("stop"),
                      InstanceMethod<&Poll::Keep>("ref"), InstanceMethod<&Poll::Release>("unref"),
                      InstanceMethod<&Poll::Close>("close")});
}

Poll::Poll(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Napi::Env env = info.Env();
  auto watch = std::make_unique<Watch>();
  watch->env = env;
  watch->fd = info[0].As<Napi::Number>().Int32Value();
  watch->counter = info[1].As<Napi::Boolean>().Value();
  watch->handle.data = watch.get();
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  const int error = uv_poll_init(loop, &watch->handle, watch->fd);
  if (error != 0) {
    Napi::Error::New(env, std::string("poll: ") + uv_strerror(error)).ThrowAsJavaScriptException();
    return;
  }
  napi_create_reference(env, info[2], 1, &watch->callback);
  napi_async_init(env, nullptr, Napi::String::New(env, "typevisor.Poll"), &watch->context);
  napi_add_async_cleanup_hook(env, OnEnvironmentEnd, watch.get(), &watch->hook);
  uv_poll_start(&watch->handle, UV_READABLE, OnReadable);
  watch->owner = &watch_;
  watch_ = watch.release();
}

Poll::~Poll() {
  if (watch_ != nullptr) BeginClose(watch_);
}

void Poll::Start(const Napi::CallbackInfo&) {
  if (watch_ != nullptr) uv_poll_start(&watch_->handle, UV_READABLE, OnReadable);
}

void Poll::Stop(const Napi::CallbackInfo&) {
  if (watch_ != nullptr) uv_poll_stop(&watch_->handle);
}

void Poll::Keep(const Napi::CallbackInfo&) {
  if (watch_ != nullptr) uv_ref(reinterpret_cast<uv_handle_t*>(&watch_->handle));
}

void Poll::Release(const Napi::CallbackInfo&) {
  if (watch_ != nullptr) uv_unref(reinterpret_cast<uv_handle_t*>(&watch_->handle));
}

void Poll::Close(const Napi::CallbackInfo&) {
  if (watch_ != nullptr) BeginClose(watch_);
}

}  // namespace typevisor
