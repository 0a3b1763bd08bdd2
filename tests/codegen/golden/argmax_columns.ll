@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <8 x float> @llvm.masked.load.v8f32.p0(ptr, <8 x i1>, <8 x float>)
declare <8 x i64> @llvm.masked.load.v8i64.p0(ptr, <8 x i1>, <8 x i64>)
declare void @llvm.masked.store.v8i64.p0(<8 x i64>, ptr, <8 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare ptr @malloc(i64)
declare void @free(ptr)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.11 = alloca i64
  %.19 = alloca i64
  %.29 = alloca <32 x float>
  %.30 = alloca <32 x i64>
  %.31 = alloca <32 x float>
  %.32 = alloca <32 x i64>
  %.140 = alloca <8 x float>
  %.141 = alloca <8 x i64>
  %.142 = alloca <8 x float>
  %.143 = alloca <8 x i64>
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 3
  %n1 = load i64, ptr %at.n1, align 8
  %at.x.s1 = getelementptr i64, ptr %record, i64 4
  %x.s1 = load i64, ptr %at.x.s1, align 8
  %at.units = getelementptr i64, ptr %record, i64 6
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 7
  %grain = load i64, ptr %at.grain, align 8
  %at.chunk = getelementptr i64, ptr %record, i64 8
  %chunk = load i64, ptr %at.chunk, align 8
  %at.chunks = getelementptr i64, ptr %record, i64 9
  %chunks = load i64, ptr %at.chunks, align 8
  %at.mode = getelementptr i64, ptr %record, i64 11
  %mode = load i64, ptr %at.mode, align 8
  %at.pieces = getelementptr i64, ptr %record, i64 12
  %pieces = load i64, ptr %at.pieces, align 8
  %at.piece = getelementptr i64, ptr %record, i64 13
  %piece = load i64, ptr %at.piece, align 8
  %at.scratch = getelementptr i64, ptr %record, i64 14
  %scratch = load i64, ptr %at.scratch, align 8
  %at.rows = getelementptr i64, ptr %record, i64 15
  %rows = load i64, ptr %at.rows, align 8
  %.1 = mul i64 %x.s1, 4
  %.2 = icmp sgt i64 %n1, 0
  %.3 = udiv i64 %number, %pieces
  %.4 = urem i64 %number, %pieces
  %.5 = mul i64 %.4, %piece
  %.6 = add i64 %.5, %piece
  %.7 = call i64 @llvm.smin.i64(i64 %.6, i64 %n1)
  %.8 = mul i64 %.3, %grain
  %.9 = add i64 %.8, %grain
  %.10 = call i64 @llvm.smin.i64(i64 %.9, i64 %units)
  store i64 %.8, ptr %.11
  %.13 = icmp slt i64 %.8, %.10
  br i1 %.13, label %loop.12, label %done.12
loop.12:
  %.14 = phi i64 [ %.8, %entry ], [ %.238, %done.127 ]
  %.15 = load i64, ptr %.11
  %.16 = mul i64 %.15, %chunk
  %.17 = add i64 %.16, %chunk
  %.18 = call i64 @llvm.smin.i64(i64 %.17, i64 %n0)
  store i64 %.16, ptr %.19
  %.21 = sub i64 %.18, 32
  %.22 = add i64 %.21, 1
  %.23 = icmp slt i64 %.16, %.22
  br i1 %.23, label %loop.20, label %done.20
loop.20:
  %.24 = phi i64 [ %.16, %loop.12 ], [ %.124, %done.120 ]
  %.25 = mul i64 %.24, 8
  %.26 = getelementptr i8, ptr %out.ptr, i64 %.25
  %.27 = mul i64 %.24, 4
  %.28 = getelementptr i8, ptr %x.ptr, i64 %.27
  store <32 x float> splat (float 0xFFF0000000000000), ptr %.29
  store <32 x i64> splat (i64 0), ptr %.30
  store <32 x float> splat (float 0xFFF0000000000000), ptr %.31
  store <32 x i64> splat (i64 0), ptr %.32
  %.33 = icmp ne i64 %mode, 2
  br i1 %.33, label %then.34, label %done.34
then.34:
  %.36 = icmp slt i64 %.5, %.7
  br i1 %.36, label %loop.35, label %done.35
loop.35:
  %.37 = phi i64 [ %.5, %then.34 ], [ %.50, %loop.35 ]
  %.38 = mul i64 %.37, %.1
  %.39 = getelementptr i8, ptr %.28, i64 %.38
  %.40 = load <32 x float>, ptr %.39, align 4
  %.41 = insertelement <32 x i64> poison, i64 %.37, i64 0
  %.42 = shufflevector <32 x i64> %.41, <32 x i64> poison, <32 x i32> zeroinitializer
  %.43 = load <32 x float>, ptr %.29
  %.44 = load <32 x i64>, ptr %.30
  %.45 = fcmp ugt <32 x float> %.40, %.43
  %.46 = fcmp ord <32 x float> %.43, %.43
  %.47 = and <32 x i1> %.45, %.46
  %.48 = select <32 x i1> %.47, <32 x float> %.40, <32 x float> %.43
  %.49 = select <32 x i1> %.47, <32 x i64> %.42, <32 x i64> %.44
  store <32 x float> %.48, ptr %.29
  store <32 x i64> %.49, ptr %.30
  %.50 = add i64 %.37, 1
  %.51 = icmp slt i64 %.50, %.7
  br i1 %.51, label %loop.35, label %done.35
done.35:
  %.52 = load <32 x float>, ptr %.29
  %.53 = load <32 x i64>, ptr %.30
  store <32 x float> %.52, ptr %.31
  store <32 x i64> %.53, ptr %.32
  br label %done.34
done.34:
  %.54 = icmp eq i64 %mode, 2
  br i1 %.54, label %then.55, label %done.55
then.55:
  %.57 = icmp slt i64 0, %pieces
  br i1 %.57, label %loop.56, label %done.56
loop.56:
  %.58 = phi i64 [ 0, %then.55 ], [ %.95, %loop.56 ]
  %.59 = mul i64 0, %n0
  %.60 = add i64 %.59, %.24
  %.61 = mul i64 %pieces, 0
  %.62 = add i64 %.61, %.58
  %.63 = mul i64 %.62, %rows
  %.64 = add i64 %.63, %.60
  %.65 = inttoptr i64 %scratch to ptr
  %.66 = getelementptr i64, ptr %.65, i64 %.64
  %.67 = load <32 x i64>, ptr %.66, align 8
  %.68 = trunc <32 x i64> %.67 to <32 x i32>
  %.69 = bitcast <32 x i32> %.68 to <32 x float>
  %.70 = mul i64 0, %n0
  %.71 = add i64 %.70, %.24
  %.72 = mul i64 %pieces, 1
  %.73 = add i64 %.72, %.58
  %.74 = mul i64 %.73, %rows
  %.75 = add i64 %.74, %.71
  %.76 = inttoptr i64 %scratch to ptr
  %.77 = getelementptr i64, ptr %.76, i64 %.75
  %.78 = load <32 x i64>, ptr %.77, align 8
  %.79 = load <32 x float>, ptr %.31
  %.80 = load <32 x i64>, ptr %.32
  %.81 = icmp slt <32 x i64> %.78, %.80
  %.82 = fcmp uno <32 x float> %.79, %.79
  %.83 = fcmp uno <32 x float> %.69, %.69
  %.84 = fcmp ogt <32 x float> %.69, %.79
  %.85 = or <32 x i1> %.84, %.83
  %.86 = xor <32 x i1> %.82, splat (i1 true)
  %.87 = and <32 x i1> %.85, %.86
  %.88 = fcmp oeq <32 x float> %.79, %.69
  %.89 = and <32 x i1> %.82, %.83
  %.90 = or <32 x i1> %.88, %.89
  %.91 = and <32 x i1> %.90, %.81
  %.92 = or <32 x i1> %.87, %.91
  %.93 = select <32 x i1> %.92, <32 x float> %.69, <32 x float> %.79
  %.94 = select <32 x i1> %.92, <32 x i64> %.78, <32 x i64> %.80
  store <32 x float> %.93, ptr %.31
  store <32 x i64> %.94, ptr %.32
  %.95 = add i64 %.58, 1
  %.96 = icmp slt i64 %.95, %pieces
  br i1 %.96, label %loop.56, label %done.56
done.56:
  br label %done.55
done.55:
  %.97 = icmp eq i64 %mode, 1
  br i1 %.97, label %then.98, label %done.98, !prof !{!"branch_weights", i32 1, i32 1000}
then.98:
  %.99 = load <32 x float>, ptr %.31
  %.100 = load <32 x i64>, ptr %.32
  %.101 = mul i64 0, %n0
  %.102 = add i64 %.101, %.24
  %.103 = mul i64 %pieces, 0
  %.104 = add i64 %.103, %.4
  %.105 = mul i64 %.104, %rows
  %.106 = add i64 %.105, %.102
  %.107 = inttoptr i64 %scratch to ptr
  %.108 = getelementptr i64, ptr %.107, i64 %.106
  %.109 = bitcast <32 x float> %.99 to <32 x i32>
  %.110 = zext <32 x i32> %.109 to <32 x i64>
  store <32 x i64> %.110, ptr %.108, align 8
  %.111 = mul i64 0, %n0
  %.112 = add i64 %.111, %.24
  %.113 = mul i64 %pieces, 1
  %.114 = add i64 %.113, %.4
  %.115 = mul i64 %.114, %rows
  %.116 = add i64 %.115, %.112
  %.117 = inttoptr i64 %scratch to ptr
  %.118 = getelementptr i64, ptr %.117, i64 %.116
  store <32 x i64> %.100, ptr %.118, align 8
  br label %done.98
done.98:
  %.119 = xor i1 %.97, true
  br i1 %.119, label %then.120, label %done.120
then.120:
  %.121 = load <32 x float>, ptr %.31
  %.122 = load <32 x i64>, ptr %.32
  store <32 x i64> %.122, ptr %.26, align 8
  br label %done.120
done.120:
  %.123 = add i64 %.24, 32
  store i64 %.123, ptr %.19
  %.124 = add i64 %.24, 32
  %.125 = icmp slt i64 %.124, %.22
  br i1 %.125, label %loop.20, label %done.20
done.20:
  %.126 = load i64, ptr %.19
  %.128 = icmp slt i64 %.126, %.18
  br i1 %.128, label %loop.127, label %done.127
loop.127:
  %.129 = phi i64 [ %.126, %done.20 ], [ %.234, %done.231 ]
  %.130 = sub i64 %.18, %.129
  %.131 = call i64 @llvm.smin.i64(i64 %.130, i64 8)
  %.132 = sub i64 8, %.131
  %.133 = trunc i64 %.132 to i8
  %.134 = lshr i8 -1, %.133
  %.135 = bitcast i8 %.134 to <8 x i1>
  %.136 = mul i64 %.129, 8
  %.137 = getelementptr i8, ptr %out.ptr, i64 %.136
  %.138 = mul i64 %.129, 4
  %.139 = getelementptr i8, ptr %x.ptr, i64 %.138
  store <8 x float> splat (float 0xFFF0000000000000), ptr %.140
  store <8 x i64> splat (i64 0), ptr %.141
  store <8 x float> splat (float 0xFFF0000000000000), ptr %.142
  store <8 x i64> splat (i64 0), ptr %.143
  %.144 = icmp ne i64 %mode, 2
  br i1 %.144, label %then.145, label %done.145
then.145:
  %.147 = icmp slt i64 %.5, %.7
  br i1 %.147, label %loop.146, label %done.146
loop.146:
  %.148 = phi i64 [ %.5, %then.145 ], [ %.161, %loop.146 ]
  %.149 = mul i64 %.148, %.1
  %.150 = getelementptr i8, ptr %.139, i64 %.149
  %.151 = call <8 x float> @llvm.masked.load.v8f32.p0(ptr align 4 %.150, <8 x i1> %.135, <8 x float> zeroinitializer)
  %.152 = insertelement <8 x i64> poison, i64 %.148, i64 0
  %.153 = shufflevector <8 x i64> %.152, <8 x i64> poison, <8 x i32> zeroinitializer
  %.154 = load <8 x float>, ptr %.140
  %.155 = load <8 x i64>, ptr %.141
  %.156 = fcmp ugt <8 x float> %.151, %.154
  %.157 = fcmp ord <8 x float> %.154, %.154
  %.158 = and <8 x i1> %.156, %.157
  %.159 = select <8 x i1> %.158, <8 x float> %.151, <8 x float> %.154
  %.160 = select <8 x i1> %.158, <8 x i64> %.153, <8 x i64> %.155
  store <8 x float> %.159, ptr %.140
  store <8 x i64> %.160, ptr %.141
  %.161 = add i64 %.148, 1
  %.162 = icmp slt i64 %.161, %.7
  br i1 %.162, label %loop.146, label %done.146
done.146:
  %.163 = load <8 x float>, ptr %.140
  %.164 = load <8 x i64>, ptr %.141
  store <8 x float> %.163, ptr %.142
  store <8 x i64> %.164, ptr %.143
  br label %done.145
done.145:
  %.165 = icmp eq i64 %mode, 2
  br i1 %.165, label %then.166, label %done.166
then.166:
  %.168 = icmp slt i64 0, %pieces
  br i1 %.168, label %loop.167, label %done.167
loop.167:
  %.169 = phi i64 [ 0, %then.166 ], [ %.206, %loop.167 ]
  %.170 = mul i64 0, %n0
  %.171 = add i64 %.170, %.129
  %.172 = mul i64 %pieces, 0
  %.173 = add i64 %.172, %.169
  %.174 = mul i64 %.173, %rows
  %.175 = add i64 %.174, %.171
  %.176 = inttoptr i64 %scratch to ptr
  %.177 = getelementptr i64, ptr %.176, i64 %.175
  %.178 = call <8 x i64> @llvm.masked.load.v8i64.p0(ptr align 8 %.177, <8 x i1> %.135, <8 x i64> zeroinitializer)
  %.179 = trunc <8 x i64> %.178 to <8 x i32>
  %.180 = bitcast <8 x i32> %.179 to <8 x float>
  %.181 = mul i64 0, %n0
  %.182 = add i64 %.181, %.129
  %.183 = mul i64 %pieces, 1
  %.184 = add i64 %.183, %.169
  %.185 = mul i64 %.184, %rows
  %.186 = add i64 %.185, %.182
  %.187 = inttoptr i64 %scratch to ptr
  %.188 = getelementptr i64, ptr %.187, i64 %.186
  %.189 = call <8 x i64> @llvm.masked.load.v8i64.p0(ptr align 8 %.188, <8 x i1> %.135, <8 x i64> zeroinitializer)
  %.190 = load <8 x float>, ptr %.142
  %.191 = load <8 x i64>, ptr %.143
  %.192 = icmp slt <8 x i64> %.189, %.191
  %.193 = fcmp uno <8 x float> %.190, %.190
  %.194 = fcmp uno <8 x float> %.180, %.180
  %.195 = fcmp ogt <8 x float> %.180, %.190
  %.196 = or <8 x i1> %.195, %.194
  %.197 = xor <8 x i1> %.193, splat (i1 true)
  %.198 = and <8 x i1> %.196, %.197
  %.199 = fcmp oeq <8 x float> %.190, %.180
  %.200 = and <8 x i1> %.193, %.194
  %.201 = or <8 x i1> %.199, %.200
  %.202 = and <8 x i1> %.201, %.192
  %.203 = or <8 x i1> %.198, %.202
  %.204 = select <8 x i1> %.203, <8 x float> %.180, <8 x float> %.190
  %.205 = select <8 x i1> %.203, <8 x i64> %.189, <8 x i64> %.191
  store <8 x float> %.204, ptr %.142
  store <8 x i64> %.205, ptr %.143
  %.206 = add i64 %.169, 1
  %.207 = icmp slt i64 %.206, %pieces
  br i1 %.207, label %loop.167, label %done.167
done.167:
  br label %done.166
done.166:
  %.208 = icmp eq i64 %mode, 1
  br i1 %.208, label %then.209, label %done.209, !prof !{!"branch_weights", i32 1, i32 1000}
then.209:
  %.210 = load <8 x float>, ptr %.142
  %.211 = load <8 x i64>, ptr %.143
  %.212 = mul i64 0, %n0
  %.213 = add i64 %.212, %.129
  %.214 = mul i64 %pieces, 0
  %.215 = add i64 %.214, %.4
  %.216 = mul i64 %.215, %rows
  %.217 = add i64 %.216, %.213
  %.218 = inttoptr i64 %scratch to ptr
  %.219 = getelementptr i64, ptr %.218, i64 %.217
  %.220 = bitcast <8 x float> %.210 to <8 x i32>
  %.221 = zext <8 x i32> %.220 to <8 x i64>
  call void @llvm.masked.store.v8i64.p0(<8 x i64> %.221, ptr align 8 %.219, <8 x i1> %.135)
  %.222 = mul i64 0, %n0
  %.223 = add i64 %.222, %.129
  %.224 = mul i64 %pieces, 1
  %.225 = add i64 %.224, %.4
  %.226 = mul i64 %.225, %rows
  %.227 = add i64 %.226, %.223
  %.228 = inttoptr i64 %scratch to ptr
  %.229 = getelementptr i64, ptr %.228, i64 %.227
  call void @llvm.masked.store.v8i64.p0(<8 x i64> %.211, ptr align 8 %.229, <8 x i1> %.135)
  br label %done.209
done.209:
  %.230 = xor i1 %.208, true
  br i1 %.230, label %then.231, label %done.231
then.231:
  %.232 = load <8 x float>, ptr %.142
  %.233 = load <8 x i64>, ptr %.143
  call void @llvm.masked.store.v8i64.p0(<8 x i64> %.233, ptr align 8 %.137, <8 x i1> %.135)
  br label %done.231
done.231:
  %.234 = add i64 %.129, 8
  %.235 = icmp slt i64 %.234, %.18
  br i1 %.235, label %loop.127, label %done.127
done.127:
  %.236 = load i64, ptr %.11
  %.237 = add i64 %.236, 1
  store i64 %.237, ptr %.11
  %.238 = add i64 %.14, 1
  %.239 = icmp slt i64 %.238, %.10
  br i1 %.239, label %loop.12, label %done.12
done.12:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0, i64 %n1, i64 %x.s1) #0 {
entry:
  %record = alloca [17 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n1, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %x.s1, ptr %.5, align 8
  %.6 = icmp eq i64 %n0, 0
  br i1 %.6, label %leave, label %work
work:
  %.7 = getelementptr i64, ptr %record, i64 6
  store i64 1, ptr %.7, align 8
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 1, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.9, align 8
  %.10 = getelementptr i64, ptr %record, i64 9
  store i64 1, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 11
  store i64 0, ptr %.11, align 8
  %.12 = getelementptr i64, ptr %record, i64 12
  store i64 1, ptr %.12, align 8
  %.13 = getelementptr i64, ptr %record, i64 13
  store i64 %n1, ptr %.13, align 8
  %.14 = mul i64 %n0, %n1
  %.15 = icmp sgt i64 %.14, 111111
  br i1 %.15, label %then.16, label %done.16
then.16:
  %.17 = call i64 @llvm.smax.i64(i64 %n1, i64 1)
  %.18 = udiv i64 44416, %.17
  %.19 = add i64 %.18, 63
  %.20 = and i64 %.19, -64
  %.21 = call i64 @llvm.smax.i64(i64 %.20, i64 2048)
  %.22 = sub i64 %.21, 1
  %.23 = add i64 %n0, %.22
  %.24 = udiv i64 %.23, %.21
  %.25 = call i64 @llvm.smin.i64(i64 %.21, i64 %n0)
  %.26 = getelementptr i64, ptr %record, i64 9
  store i64 %.24, ptr %.26, align 8
  %.27 = getelementptr i64, ptr %record, i64 8
  store i64 %.25, ptr %.27, align 8
  %.28 = mul i64 %.25, %n1
  %.29 = call i64 @llvm.smax.i64(i64 %.28, i64 1)
  %.30 = udiv i64 44416, %.29
  %.31 = call i64 @llvm.smax.i64(i64 %.30, i64 1)
  %.32 = getelementptr i64, ptr %record, i64 6
  store i64 %.24, ptr %.32, align 8
  %.33 = getelementptr i64, ptr %record, i64 7
  store i64 %.31, ptr %.33, align 8
  %.34 = sub i64 %.31, 1
  %.35 = add i64 %.24, %.34
  %.36 = udiv i64 %.35, %.31
  %.37 = call i64 @llvm.smax.i64(i64 %.25, i64 1)
  %.38 = udiv i64 65536, %.37
  %.39 = call i64 @llvm.smax.i64(i64 %.38, i64 1)
  %.40 = sub i64 %.39, 1
  %.41 = add i64 %n1, %.40
  %.42 = udiv i64 %.41, %.39
  %.43 = icmp slt i64 %.36, 16
  %.44 = icmp sgt i64 %.42, 1
  %.45 = and i1 %.43, %.44
  br i1 %.45, label %then.46, label %done.46
then.46:
  %.47 = mul i64 %n0, %.42
  %.48 = mul i64 %.47, 16
  %.49 = call ptr @malloc(i64 %.48)
  %.50 = icmp ne ptr %.49, null
  br i1 %.50, label %then.51, label %done.51
then.51:
  %.52 = ptrtoint ptr %.49 to i64
  %.53 = getelementptr i64, ptr %record, i64 11
  store i64 1, ptr %.53, align 8
  %.54 = getelementptr i64, ptr %record, i64 7
  store i64 1, ptr %.54, align 8
  %.55 = getelementptr i64, ptr %record, i64 12
  store i64 %.42, ptr %.55, align 8
  %.56 = getelementptr i64, ptr %record, i64 13
  store i64 %.39, ptr %.56, align 8
  %.57 = getelementptr i64, ptr %record, i64 14
  store i64 %.52, ptr %.57, align 8
  %.58 = getelementptr i64, ptr %record, i64 15
  store i64 %n0, ptr %.58, align 8
  %.59 = mul i64 %.24, %.42
  call void @facula_parallel(ptr @task, ptr %record, i64 %.59)
  %.60 = getelementptr i64, ptr %record, i64 11
  store i64 2, ptr %.60, align 8
  %.61 = getelementptr i64, ptr %record, i64 7
  store i64 %.24, ptr %.61, align 8
  call void @task(ptr %record, i64 0)
  call void @free(ptr %.49)
  br label %leave
never.62:
  br label %done.51
done.51:
  br label %done.46
done.46:
  call void @facula_parallel(ptr @task, ptr %record, i64 %.36)
  br label %leave
never.63:
  br label %done.16
done.16:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
