;; The callout workload by hand: one call before going on, the status read when it is answered, 403 where it is not 2xx.
(module
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "auth:statusdenied\0a")
  (data (i32.const 128) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\06\00\00\00\0a\00\00\00\04\00\00\00:method\00GET\00:path\00/check\00:authority\00auth\00")
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  ;; The stream of a token: tokens are multiples of 4, at most 4096 are open at a time.
  (func $slot (param $token i32) (result i32)
    (i32.add (i32.const 4096) (i32.and (local.get $token) (i32.const 16380))))
  (func $deny
    (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 27) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const -1))))
  (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32)
    (if (call $call (i32.const 16) (i32.const 4) (i32.const 128) (i32.const 69) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000) (i32.const 8))
      (then (call $deny) (return (i32.const 4))))
    (i32.store (call $slot (i32.load (i32.const 8))) (local.get $id))
    (i32.const 4))
  (func (export "proxy_on_http_call_response") (param $root i32) (param $token i32) (param $headers i32) (param i32 i32)
    (local $missing i32)
    (local.set $missing (call $get (i32.const 6) (i32.const 20) (i32.const 7) (i32.const 0) (i32.const 4)))
    ;; A stream that is gone has no context to become.
    (if (call $effective (i32.load (call $slot (local.get $token)))) (then (return)))
    (if (i32.eqz (local.get $missing))
      (then
        (if (i32.eq (i32.load8_u (i32.load (i32.const 0))) (i32.const 50)) ;; "2"
          (then (drop (call $continue (i32.const 0))) (return)))))
    (call $deny)))
