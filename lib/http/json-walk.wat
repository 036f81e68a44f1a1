;; Walks the bytes of a JSON value sixty-four at a time: finds the ends of strings and brackets, checks nothing else. The way to find
;; strings is that of simdjson (Langdale and Lemire, "Parsing gigabytes of JSON per second", VLDB Journal 2019, section 3.1).
;; `npm run generate` compiles it into json-walk.wasm.ts.
(module
  ;; Offsets 0 to 15: the state of the walk as four numbers of 32 bits: open brackets; 1 within a string and 2 with an escaped byte
  ;; next; where the latest element of the outermost list begins, or -1; why the walk has stopped. Offset 64: a bit for each open
  ;; bracket, set for a brace. Offset 2048: the bytes, then sixty-four that are read and not looked at.
  (memory (export "memory") 2)

  ;; Begins a walk behind the first byte of a value: a bracket, or the quote of a string.
  (func (export "begin") (param $first i32)
    (i32.store (i32.const 0) (i32.ne (local.get $first) (i32.const 0x22)))
    (i32.store (i32.const 4) (i32.eq (local.get $first) (i32.const 0x22)))
    (i32.store8 (i32.const 64) (i32.eq (local.get $first) (i32.const 0x7b))))

  ;; @param $at, $end: offsets in the bytes. @param $stops: 1 to stop behind each element of the outermost list.
  ;; @returns the offset at which it stopped, because (the last number of the state): 0 the bytes end, 1 an element ends, 2 the value
  ;; ends, 3 a bracket does not fit, there are too many, or a backslash stands outside of a string.
  (func (export "walk") (param $at i32) (param $end i32) (param $stops i32) (result i32)
    (local $depth i32)
    (local $element i32)
    (local $why i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $left i32)        ;; bytes of the block that count
    (local $valid i64)       ;; a bit for each of them
    (local $quotes i64)      ;; in the following, a bit for each byte of the block
    (local $slashes i64)
    (local $marks i64)       ;; brackets and backslashes outside of strings
    (local $escaped i64)
    (local $escapes i64)     ;; backslashes that escape what follows
    (local $strings i64)     ;; bytes of strings, with the quote before and without the one behind
    (local $inString i64)    ;; all bits set, or none
    (local $isEscaped i64)   ;; 1 when the first byte of the block is
    (local $byte i32) (local $place i32) (local $bit i32) (local $shift i32)
    (local.set $depth (i32.load (i32.const 0)))
    (local.set $inString (i64.sub (i64.const 0) (i64.extend_i32_u (i32.and (i32.load (i32.const 4)) (i32.const 1)))))
    (local.set $isEscaped (i64.extend_i32_u (i32.shr_u (i32.load (i32.const 4)) (i32.const 1))))
    (local.set $element (i32.const -1))
    (block $stop
      (loop $next
        (br_if $stop (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $left (i32.sub (local.get $end) (local.get $at)))
        (local.set $valid (i64.const -1))
        (if (i32.lt_u (local.get $left) (i32.const 64))
          (then (local.set $valid (i64.sub (i64.shl (i64.const 1) (i64.extend_i32_u (local.get $left))) (i64.const 1))))
          (else (local.set $left (i32.const 64))))
        (local.set $a (v128.load offset=2048 (local.get $at)))
        (local.set $b (v128.load offset=2064 (local.get $at)))
        (local.set $c (v128.load offset=2080 (local.get $at)))
        (local.set $d (v128.load offset=2096 (local.get $at)))
        (local.set $quotes (i64.and (local.get $valid) (i64.or
          (i64.or
            (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $a) (i8x16.splat (i32.const 0x22)))))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $b) (i8x16.splat (i32.const 0x22))))) (i64.const 16)))
          (i64.or
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $c) (i8x16.splat (i32.const 0x22))))) (i64.const 32))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $d) (i8x16.splat (i32.const 0x22))))) (i64.const 48))))))
        (local.set $slashes (i64.and (local.get $valid) (i64.or
          (i64.or
            (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $a) (i8x16.splat (i32.const 0x5c)))))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $b) (i8x16.splat (i32.const 0x5c))))) (i64.const 16)))
          (i64.or
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $c) (i8x16.splat (i32.const 0x5c))))) (i64.const 32))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (local.get $d) (i8x16.splat (i32.const 0x5c))))) (i64.const 48))))))
        ;; Strings go on, or none begins: most blocks of a picture, or of numbers.
        (if (i64.eqz (i64.or (i64.or (local.get $quotes) (local.get $slashes)) (local.get $isEscaped)))
          (then
            (local.set $strings (local.get $inString)))
          (else
            (local.set $escaped (local.get $isEscaped))
            (local.set $escapes (i64.const 0))
            (if (i64.ne (local.get $slashes) (i64.const 0))
              (then
                ;; Of a run of backslashes every second one is escaped. Subtraction carries through the run.
                (local.set $escapes (i64.and (local.get $slashes) (i64.xor (local.get $isEscaped) (i64.const -1))))
                (local.set $escaped
                  (i64.xor (i64.const 0xaaaaaaaaaaaaaaaa)
                    (i64.sub (i64.or (i64.shl (local.get $escapes) (i64.const 1)) (i64.const 0xaaaaaaaaaaaaaaaa)) (local.get $escapes))))
                (local.set $escapes (i64.and (local.get $escaped) (local.get $slashes)))
                (local.set $escaped (i64.xor (local.get $escaped) (i64.or (local.get $slashes) (local.get $isEscaped))))))
            (local.set $isEscaped (i64.and (i64.shr_u (local.get $escapes) (i64.extend_i32_u (i32.sub (local.get $left) (i32.const 1)))) (i64.const 1)))
            (local.set $quotes (i64.and (local.get $quotes) (i64.xor (local.get $escaped) (i64.const -1))))
            ;; A string alone ends with its quote.
            (if (i32.and (i32.eqz (local.get $depth)) (i64.ne (local.get $quotes) (i64.const 0)))
              (then
                (local.set $at (i32.add (local.get $at) (i32.add (i32.wrap_i64 (i64.ctz (local.get $quotes))) (i32.const 1))))
                (local.set $inString (i64.const 0))
                (local.set $isEscaped (i64.const 0))
                (local.set $why (i32.const 2))
                (br $stop)))
            ;; Each bit becomes the parity of the quotes up to it.
            (local.set $strings (i64.xor (local.get $quotes) (i64.shl (local.get $quotes) (i64.const 1))))
            (local.set $strings (i64.xor (local.get $strings) (i64.shl (local.get $strings) (i64.const 2))))
            (local.set $strings (i64.xor (local.get $strings) (i64.shl (local.get $strings) (i64.const 4))))
            (local.set $strings (i64.xor (local.get $strings) (i64.shl (local.get $strings) (i64.const 8))))
            (local.set $strings (i64.xor (local.get $strings) (i64.shl (local.get $strings) (i64.const 16))))
            (local.set $strings (i64.xor (local.get $strings) (i64.shl (local.get $strings) (i64.const 32))))
            (local.set $strings (i64.xor (local.get $strings) (local.get $inString)))
            (local.set $inString (i64.xor (local.get $inString) (i64.sub (i64.const 0) (i64.and (i64.popcnt (local.get $quotes)) (i64.const 1)))))))
        (if (i64.eq (local.get $strings) (i64.const -1))
          (then
            (local.set $at (i32.add (local.get $at) (local.get $left)))
            (br $next)))
        ;; With 0x26 all four brackets are 0x7f, and so are a few letters, which are passed over below.
        (local.set $marks (i64.and (local.get $valid) (i64.or
          (i64.or
            (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (v128.or (local.get $a) (i8x16.splat (i32.const 0x26))) (i8x16.splat (i32.const 0x7f)))))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (v128.or (local.get $b) (i8x16.splat (i32.const 0x26))) (i8x16.splat (i32.const 0x7f))))) (i64.const 16)))
          (i64.or
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (v128.or (local.get $c) (i8x16.splat (i32.const 0x26))) (i8x16.splat (i32.const 0x7f))))) (i64.const 32))
            (i64.shl (i64.extend_i32_u (i8x16.bitmask (i8x16.eq (v128.or (local.get $d) (i8x16.splat (i32.const 0x26))) (i8x16.splat (i32.const 0x7f))))) (i64.const 48))))))
        (local.set $marks (i64.and (i64.or (local.get $marks) (local.get $slashes)) (i64.xor (local.get $strings) (i64.const -1))))
        (block $done
          (loop $mark
            (br_if $done (i64.eqz (local.get $marks)))
            (local.set $place (i32.add (local.get $at) (i32.wrap_i64 (i64.ctz (local.get $marks)))))
            (local.set $marks (i64.and (local.get $marks) (i64.sub (local.get $marks) (i64.const 1))))
            (local.set $byte (i32.load8_u offset=2048 (local.get $place)))
            (local.set $bit (i32.and (i32.shr_u (local.get $byte) (i32.const 5)) (i32.const 1)))
            ;; With the bit 0x20 a square bracket is a brace.
            (if (i32.eq (i32.or (local.get $byte) (i32.const 0x20)) (i32.const 0x7b))
              (then
                (if (i32.eq (local.get $depth) (i32.const 1)) (then (local.set $element (local.get $place))))
                (if (i32.eq (local.get $depth) (i32.const 9999))
                  (then
                    (local.set $why (i32.const 3))
                    (br $stop)))
                (local.set $place (i32.add (i32.const 64) (i32.shr_u (local.get $depth) (i32.const 3))))
                (local.set $shift (i32.and (local.get $depth) (i32.const 7)))
                (i32.store8 (local.get $place)
                  (i32.or
                    (i32.and (i32.load8_u (local.get $place)) (i32.xor (i32.const 0xff) (i32.shl (i32.const 1) (local.get $shift))))
                    (i32.shl (local.get $bit) (local.get $shift))))
                (local.set $depth (i32.add (local.get $depth) (i32.const 1)))
                (br $mark)))
            (if (i32.eq (i32.or (local.get $byte) (i32.const 0x20)) (i32.const 0x7d))
              (then
                (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
                (if (i32.ne
                      (i32.and (i32.shr_u (i32.load8_u (i32.add (i32.const 64) (i32.shr_u (local.get $depth) (i32.const 3)))) (i32.and (local.get $depth) (i32.const 7))) (i32.const 1))
                      (local.get $bit))
                  (then
                    (local.set $why (i32.const 3))
                    (br $stop)))
                (if (i32.eqz (local.get $depth)) (then (local.set $why (i32.const 2))))
                (if (i32.and (i32.eq (local.get $depth) (i32.const 1)) (local.get $stops)) (then (local.set $why (i32.const 1))))
                (br_if $mark (i32.eqz (local.get $why)))
                (local.set $at (i32.add (local.get $place) (i32.const 1)))
                (local.set $inString (i64.const 0))
                (local.set $isEscaped (i64.const 0))
                (br $stop)))
            (br_if $mark (i32.ne (local.get $byte) (i32.const 0x5c)))
            (local.set $why (i32.const 3))
            (br $stop)))
        (local.set $at (i32.add (local.get $at) (local.get $left)))
        (br $next)))
    (i32.store (i32.const 0) (local.get $depth))
    (i32.store (i32.const 4) (i32.or (i32.and (i32.wrap_i64 (local.get $inString)) (i32.const 1)) (i32.shl (i32.wrap_i64 (local.get $isEscaped)) (i32.const 1))))
    (i32.store (i32.const 8) (local.get $element))
    (i32.store (i32.const 12) (local.get $why))
    (local.get $at)))
