;; SPDX-License-Identifier: GPL-2.0
;; A rank that exchanges numbered messages with all others and with itself. The highest rank is the
;; conductor: it says how many rounds are to be done (tag 2; 0: end), is told when the messages of the first are
;; sent (tag 4), and then how many messages have come so far (tag 3). In each round 16 messages go to each rank,
;; those with odd numbers with tag 1, the others with tag 0; then, of each rank, first the odd ones are taken and then the others. A message that is not the
;; one that is due is told (its rank, its number, the number due) and ends the program.
(module
    (import "env" "note" (func $note (param i64)))
    (import "pagemove" "rank" (func $rank (result i32)))
    (import "pagemove" "size" (func $size (result i32)))
    (import "pagemove" "send" (func $host_send (param i32 i32 i32 i32) (result i32)))
    (import "pagemove" "recv" (func $host_recv (param i32 i32 i32 i32 i32) (result i32)))
    ;; 256: what recv tells; 4096: a message to be sent; 8192: one that has come; 16384: numbers sent to each
    ;; rank; 24576: numbers that have come from each.
    (memory 1)

    (func $send (param $to i32) (param $tag i32) (param $length i32) (local $result i32)
        (loop $again
            (local.set $result
                (call $host_send (local.get $to) (local.get $tag) (i32.const 4096) (local.get $length)))
            (br_if $again (i32.eq (local.get $result) (i32.const -1))))
        (if (local.get $result) (then (unreachable))))

    (func $recv (param $from i32) (param $tag i32) (result i32) (local $result i32)
        (loop $again
            (local.set $result
                (call $host_recv (local.get $from) (local.get $tag) (i32.const 8192) (i32.const 1024)
                    (i32.const 256)))
            (br_if $again (i32.eq (local.get $result) (i32.const -1))))
        (if (i32.lt_s (local.get $result) (i32.const 8)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 256)) (local.get $from)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 260)) (local.get $tag)) (then (unreachable)))
        (if (i32.ne (i32.load (i32.const 264)) (local.get $result)) (then (unreachable)))
        (local.get $result))

    (func $length (param $number i64) (result i32)
        (i32.add (i32.const 9)
            (i32.wrap_i64 (i64.rem_u (i64.mul (local.get $number) (i64.const 37)) (i64.const 200)))))

    ;; Sends the next number: its length and its bytes follow from it.
    (func $send_next (param $to i32) (local $place i32) (local $number i64) (local $length i32)
        (local.set $place (i32.add (i32.const 16384) (i32.shl (local.get $to) (i32.const 3))))
        (local.set $number (i64.add (i64.load (local.get $place)) (i64.const 1)))
        (local.set $length (call $length (local.get $number)))
        (memory.fill (i32.const 4096) (i32.wrap_i64 (local.get $number)) (local.get $length))
        (i64.store (i32.const 4096) (local.get $number))
        (call $send (local.get $to) (i32.wrap_i64 (i64.and (local.get $number) (i64.const 1)))
            (local.get $length))
        (i64.store (local.get $place) (local.get $number)))

    ;; Takes a message, which has to be this one.
    (func $take (param $from i32) (param $due i64) (local $length i32)
        (local.set $length
            (call $recv (local.get $from) (i32.wrap_i64 (i64.and (local.get $due) (i64.const 1)))))
        (if (i32.or
                (i64.ne (i64.load (i32.const 8192)) (local.get $due))
                (i32.or
                    (i32.ne (local.get $length) (call $length (local.get $due)))
                    (i32.ne
                        (i32.load8_u (i32.add (i32.const 8191) (local.get $length)))
                        (i32.and (i32.wrap_i64 (local.get $due)) (i32.const 255)))))
            (then
                (call $note (i64.extend_i32_u (local.get $from)))
                (call $note (i64.load (i32.const 8192)))
                (call $note (local.get $due))
                (unreachable))))

    (func $round (param $programs i32) (param $first i32) (local $rank i32) (local $turn i64) (local $place i32)
        (local.set $rank (i32.const 0))
        (loop $ranks
            (local.set $turn (i64.const 0))
            (loop $messages
                (call $send_next (local.get $rank))
                (local.set $turn (i64.add (local.get $turn) (i64.const 1)))
                (br_if $messages (i64.lt_u (local.get $turn) (i64.const 16))))
            (local.set $rank (i32.add (local.get $rank) (i32.const 1)))
            (br_if $ranks (i32.lt_u (local.get $rank) (local.get $programs))))
        (if (local.get $first)
            (then (call $send (local.get $programs) (i32.const 4) (i32.const 8))))
        (local.set $rank (i32.const 0))
        (loop $ranks
            (local.set $place (i32.add (i32.const 24576) (i32.shl (local.get $rank) (i32.const 3))))
            (local.set $turn (i64.const 1))
            (loop $messages
                (call $take (local.get $rank)
                    (i64.add (i64.load (local.get $place)) (local.get $turn)))
                (local.set $turn (i64.add (local.get $turn) (i64.const 2)))
                ;; Behind 15 comes 2.
                (if (i64.eq (local.get $turn) (i64.const 17)) (then (local.set $turn (i64.const 2))))
                (br_if $messages (i64.lt_u (local.get $turn) (i64.const 17))))
            (i64.store (local.get $place) (i64.add (i64.load (local.get $place)) (i64.const 16)))
            (local.set $rank (i32.add (local.get $rank) (i32.const 1)))
            (br_if $ranks (i32.lt_u (local.get $rank) (local.get $programs)))))

    (func (export "run") (result i64)
        (local $programs i32) (local $rounds i64) (local $taken i64) (local $first i32)
        (local.set $programs (i32.sub (call $size) (i32.const 1)))
        (if (i32.ge_u (call $rank) (local.get $programs)) (then (unreachable)))
        (block $end
            (loop $tokens
                (drop (call $recv (local.get $programs) (i32.const 2)))
                (local.set $rounds (i64.load (i32.const 8192)))
                (br_if $end (i64.eqz (local.get $rounds)))
                (local.set $first (i32.const 1))
                (loop $rounds
                    (call $round (local.get $programs) (local.get $first))
                    (local.set $first (i32.const 0))
                    (local.set $taken (i64.add (local.get $taken)
                        (i64.mul (i64.extend_i32_u (local.get $programs)) (i64.const 16))))
                    (local.set $rounds (i64.sub (local.get $rounds) (i64.const 1)))
                    (br_if $rounds (i32.wrap_i64 (local.get $rounds))))
                (i64.store (i32.const 4096) (local.get $taken))
                (call $send (local.get $programs) (i32.const 3) (i32.const 8))
                (br $tokens)))
        (local.get $taken)))
