@zeros = private constant [16 x i8] zeroinitializer
!0 = !{i32 1}

declare i64 @llvm.smin.i64(i64, i64)
declare <16 x float> @llvm.masked.load.v16f32.p0(ptr, <16 x i1>, <16 x float>)
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
declare void @llvm.masked.store.v16f32.p0(<16 x float>, ptr, <16 x i1>)
declare i64 @llvm.smax.i64(i64, i64)
declare void @facula_parallel(ptr, ptr, i64)

define internal void @task(ptr %record, i64 %number) #0 {
entry:
  %.7 = alloca i64
  %.16 = alloca <64 x float>
  %.17 = alloca <16 x float>
  %.18 = alloca i64
  %.98 = alloca <16 x float>
  %.99 = alloca double
  %.178 = alloca i64
  %at.out.ptr = getelementptr i64, ptr %record, i64 0
  %out.ptr = load ptr, ptr %at.out.ptr, align 8
  %at.x.ptr = getelementptr i64, ptr %record, i64 1
  %x.ptr = load ptr, ptr %at.x.ptr, align 8
  %at.n0 = getelementptr i64, ptr %record, i64 2
  %n0 = load i64, ptr %at.n0, align 8
  %at.n1 = getelementptr i64, ptr %record, i64 3
  %n1 = load i64, ptr %at.n1, align 8
  %at.out.s0 = getelementptr i64, ptr %record, i64 4
  %out.s0 = load i64, ptr %at.out.s0, align 8
  %at.x.s0 = getelementptr i64, ptr %record, i64 5
  %x.s0 = load i64, ptr %at.x.s0, align 8
  %at.units = getelementptr i64, ptr %record, i64 7
  %units = load i64, ptr %at.units, align 8
  %at.grain = getelementptr i64, ptr %record, i64 8
  %grain = load i64, ptr %at.grain, align 8
  %.1 = mul i64 %out.s0, 4
  %.2 = mul i64 %x.s0, 4
  %.3 = icmp sgt i64 %n1, 0
  %.4 = mul i64 %number, %grain
  %.5 = add i64 %.4, %grain
  %.6 = call i64 @llvm.smin.i64(i64 %.5, i64 %units)
  store i64 %.4, ptr %.7
  %.9 = icmp slt i64 %.4, %.6
  br i1 %.9, label %loop.8, label %done.8
loop.8:
  %.10 = phi i64 [ %.4, %entry ], [ %.213, %done.194 ]
  %.11 = load i64, ptr %.7
  %.12 = mul i64 %.11, %.1
  %.13 = getelementptr i8, ptr %out.ptr, i64 %.12
  %.14 = mul i64 %.11, %.2
  %.15 = getelementptr i8, ptr %x.ptr, i64 %.14
  store <64 x float> splat (float 0xFFF0000000000000), ptr %.16
  store <16 x float> splat (float 0xFFF0000000000000), ptr %.17
  store i64 0, ptr %.18
  %.20 = sub i64 %n1, 64
  %.21 = add i64 %.20, 1
  %.22 = icmp slt i64 0, %.21
  br i1 %.22, label %loop.19, label %done.19
loop.19:
  %.23 = phi i64 [ 0, %loop.8 ], [ %.33, %loop.19 ]
  %.24 = mul i64 %.23, 4
  %.25 = getelementptr i8, ptr %.15, i64 %.24
  %.26 = load <64 x float>, ptr %.25, align 4
  %.27 = load <64 x float>, ptr %.16
  %.28 = fcmp ogt <64 x float> %.27, %.26
  %.29 = select <64 x i1> %.28, <64 x float> %.27, <64 x float> %.26
  %.30 = fcmp uno <64 x float> %.27, %.27
  %.31 = select <64 x i1> %.30, <64 x float> %.27, <64 x float> %.29
  store <64 x float> %.31, ptr %.16
  %.32 = add i64 %.23, 64
  store i64 %.32, ptr %.18
  %.33 = add i64 %.23, 64
  %.34 = icmp slt i64 %.33, %.21
  br i1 %.34, label %loop.19, label %done.19
done.19:
  %.35 = load i64, ptr %.18
  %.37 = icmp slt i64 %.35, %n1
  br i1 %.37, label %loop.36, label %done.36
loop.36:
  %.38 = phi i64 [ %.35, %done.19 ], [ %.54, %loop.36 ]
  %.39 = sub i64 %n1, %.38
  %.40 = call i64 @llvm.smin.i64(i64 %.39, i64 16)
  %.41 = sub i64 16, %.40
  %.42 = trunc i64 %.41 to i16
  %.43 = lshr i16 -1, %.42
  %.44 = bitcast i16 %.43 to <16 x i1>
  %.45 = mul i64 %.38, 4
  %.46 = getelementptr i8, ptr %.15, i64 %.45
  %.47 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.46, <16 x i1> %.44, <16 x float> zeroinitializer)
  %.48 = load <16 x float>, ptr %.17
  %.49 = select <16 x i1> %.44, <16 x float> %.47, <16 x float> splat (float 0xFFF0000000000000)
  %.50 = fcmp ogt <16 x float> %.48, %.49
  %.51 = select <16 x i1> %.50, <16 x float> %.48, <16 x float> %.49
  %.52 = fcmp uno <16 x float> %.48, %.48
  %.53 = select <16 x i1> %.52, <16 x float> %.48, <16 x float> %.51
  store <16 x float> %.53, ptr %.17
  %.54 = add i64 %.38, 16
  %.55 = icmp slt i64 %.54, %n1
  br i1 %.55, label %loop.36, label %done.36
done.36:
  %.56 = load <64 x float>, ptr %.16
  %.57 = shufflevector <64 x float> %.56, <64 x float> poison, <32 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %.58 = shufflevector <64 x float> %.56, <64 x float> poison, <32 x i32> <i32 32, i32 33, i32 34, i32 35, i32 36, i32 37, i32 38, i32 39, i32 40, i32 41, i32 42, i32 43, i32 44, i32 45, i32 46, i32 47, i32 48, i32 49, i32 50, i32 51, i32 52, i32 53, i32 54, i32 55, i32 56, i32 57, i32 58, i32 59, i32 60, i32 61, i32 62, i32 63>
  %.59 = fcmp ogt <32 x float> %.57, %.58
  %.60 = select <32 x i1> %.59, <32 x float> %.57, <32 x float> %.58
  %.61 = fcmp uno <32 x float> %.57, %.57
  %.62 = select <32 x i1> %.61, <32 x float> %.57, <32 x float> %.60
  %.63 = shufflevector <32 x float> %.62, <32 x float> poison, <16 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7, i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %.64 = shufflevector <32 x float> %.62, <32 x float> poison, <16 x i32> <i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22, i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>
  %.65 = fcmp ogt <16 x float> %.63, %.64
  %.66 = select <16 x i1> %.65, <16 x float> %.63, <16 x float> %.64
  %.67 = fcmp uno <16 x float> %.63, %.63
  %.68 = select <16 x i1> %.67, <16 x float> %.63, <16 x float> %.66
  %.69 = load <16 x float>, ptr %.17
  %.70 = fcmp ogt <16 x float> %.68, %.69
  %.71 = select <16 x i1> %.70, <16 x float> %.68, <16 x float> %.69
  %.72 = fcmp uno <16 x float> %.68, %.68
  %.73 = select <16 x i1> %.72, <16 x float> %.68, <16 x float> %.71
  %.74 = shufflevector <16 x float> %.73, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %.75 = shufflevector <16 x float> %.73, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %.76 = fcmp ogt <8 x float> %.74, %.75
  %.77 = select <8 x i1> %.76, <8 x float> %.74, <8 x float> %.75
  %.78 = fcmp uno <8 x float> %.74, %.74
  %.79 = select <8 x i1> %.78, <8 x float> %.74, <8 x float> %.77
  %.80 = shufflevector <8 x float> %.79, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %.81 = shufflevector <8 x float> %.79, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %.82 = fcmp ogt <4 x float> %.80, %.81
  %.83 = select <4 x i1> %.82, <4 x float> %.80, <4 x float> %.81
  %.84 = fcmp uno <4 x float> %.80, %.80
  %.85 = select <4 x i1> %.84, <4 x float> %.80, <4 x float> %.83
  %.86 = shufflevector <4 x float> %.85, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %.87 = shufflevector <4 x float> %.85, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %.88 = fcmp ogt <2 x float> %.86, %.87
  %.89 = select <2 x i1> %.88, <2 x float> %.86, <2 x float> %.87
  %.90 = fcmp uno <2 x float> %.86, %.86
  %.91 = select <2 x i1> %.90, <2 x float> %.86, <2 x float> %.89
  %.92 = extractelement <2 x float> %.91, i64 0
  %.93 = extractelement <2 x float> %.91, i64 1
  %.94 = fcmp ogt float %.92, %.93
  %.95 = select i1 %.94, float %.92, float %.93
  %.96 = fcmp uno float %.92, %.92
  %.97 = select i1 %.96, float %.92, float %.95
  store double 0x8000000000000000, ptr %.99
  %.101 = icmp slt i64 0, %n1
  br i1 %.101, label %loop.100, label %done.100
loop.100:
  %.102 = phi i64 [ 0, %done.36 ], [ %.173, %done.105 ]
  %.103 = add i64 %.102, 1024
  %.104 = call i64 @llvm.smin.i64(i64 %.103, i64 %n1)
  store <16 x float> splat (float 0x8000000000000000), ptr %.98
  %.106 = icmp slt i64 %.102, %.104
  br i1 %.106, label %loop.105, label %done.105
loop.105:
  %.107 = phi i64 [ %.102, %loop.100 ], [ %.155, %loop.105 ]
  %.108 = sub i64 %.104, %.107
  %.109 = call i64 @llvm.smin.i64(i64 %.108, i64 16)
  %.110 = sub i64 16, %.109
  %.111 = trunc i64 %.110 to i16
  %.112 = lshr i16 -1, %.111
  %.113 = bitcast i16 %.112 to <16 x i1>
  %.114 = mul i64 %.107, 4
  %.115 = getelementptr i8, ptr %.15, i64 %.114
  %.116 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.115, <16 x i1> %.113, <16 x float> zeroinitializer)
  %.117 = insertelement <16 x float> poison, float %.97, i64 0
  %.118 = shufflevector <16 x float> %.117, <16 x float> poison, <16 x i32> zeroinitializer
  %.119 = fsub <16 x float> %.116, %.118
  %.120 = fcmp olt <16 x float> %.119, splat (float 0xC05A000000000000)
  %.121 = select <16 x i1> %.120, <16 x float> splat (float 0xC05A000000000000), <16 x float> %.119
  %.122 = fcmp ogt <16 x float> %.121, splat (float 0x4056400000000000)
  %.123 = select <16 x i1> %.122, <16 x float> splat (float 0x4056400000000000), <16 x float> %.121
  %.124 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.123, <16 x float> splat (float 0x3FF7154760000000), <16 x float> splat (float 0x4168001FC0000000))
  %.125 = fsub <16 x float> %.124, splat (float 0x4168001FC0000000)
  %.126 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.125, <16 x float> splat (float 0xBFE62E4300000000), <16 x float> %.123)
  %.127 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.125, <16 x float> splat (float 0x3E205C6100000000), <16 x float> %.126)
  %.128 = call <16 x float> @llvm.fma.v16f32(<16 x float> splat (float 0x3F56DBE6E0000000), <16 x float> %.127, <16 x float> splat (float 0x3F81241480000000))
  %.129 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.128, <16 x float> %.127, <16 x float> splat (float 0x3FA5554520000000))
  %.130 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.129, <16 x float> %.127, <16 x float> splat (float 0x3FC5554860000000))
  %.131 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.130, <16 x float> %.127, <16 x float> splat (float 0x3FE0000000000000))
  %.132 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.131, <16 x float> %.127, <16 x float> splat (float 0x3FF0000000000000))
  %.133 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.132, <16 x float> %.127, <16 x float> splat (float 0x3FF0000000000000))
  %.134 = call <16 x float> @llvm.fma.v16f32(<16 x float> %.125, <16 x float> splat (float 0x3FE0000000000000), <16 x float> splat (float 0x4168000FE0000000))
  %.135 = bitcast <16 x float> %.134 to <16 x i32>
  %.136 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %.137 = select <16 x i1> %.136, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %.138 = shl <16 x i32> %.135, %.137
  %.139 = select <16 x i1> %.136, <16 x i32> %.138, <16 x i32> splat (i32 0)
  %.140 = bitcast <16 x i32> %.139 to <16 x float>
  %.141 = fmul <16 x float> %.133, %.140
  %.142 = bitcast <16 x float> %.124 to <16 x i32>
  %.143 = sub <16 x i32> %.142, %.135
  %.144 = icmp ult <16 x i32> splat (i32 23), splat (i32 32)
  %.145 = select <16 x i1> %.144, <16 x i32> splat (i32 23), <16 x i32> splat (i32 0)
  %.146 = shl <16 x i32> %.143, %.145
  %.147 = select <16 x i1> %.144, <16 x i32> %.146, <16 x i32> splat (i32 0)
  %.148 = bitcast <16 x i32> %.147 to <16 x float>
  %.149 = fmul <16 x float> %.141, %.148
  %.150 = load <16 x float>, ptr %.98
  %.151 = select <16 x i1> %.113, <16 x float> %.149, <16 x float> splat (float 0x8000000000000000)
  %.152 = fadd <16 x float> %.150, %.151
  store <16 x float> %.152, ptr %.98
  %.153 = mul i64 %.107, 4
  %.154 = getelementptr i8, ptr %.13, i64 %.153
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.149, ptr align 4 %.154, <16 x i1> %.113)
  %.155 = add i64 %.107, 16
  %.156 = icmp slt i64 %.155, %.104
  br i1 %.156, label %loop.105, label %done.105
done.105:
  %.157 = load <16 x float>, ptr %.98
  %.158 = shufflevector <16 x float> %.157, <16 x float> poison, <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>
  %.159 = shufflevector <16 x float> %.157, <16 x float> poison, <8 x i32> <i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15>
  %.160 = fadd <8 x float> %.158, %.159
  %.161 = shufflevector <8 x float> %.160, <8 x float> poison, <4 x i32> <i32 0, i32 1, i32 2, i32 3>
  %.162 = shufflevector <8 x float> %.160, <8 x float> poison, <4 x i32> <i32 4, i32 5, i32 6, i32 7>
  %.163 = fadd <4 x float> %.161, %.162
  %.164 = shufflevector <4 x float> %.163, <4 x float> poison, <2 x i32> <i32 0, i32 1>
  %.165 = shufflevector <4 x float> %.163, <4 x float> poison, <2 x i32> <i32 2, i32 3>
  %.166 = fadd <2 x float> %.164, %.165
  %.167 = extractelement <2 x float> %.166, i64 0
  %.168 = extractelement <2 x float> %.166, i64 1
  %.169 = fadd float %.167, %.168
  %.170 = fpext float %.169 to double
  %.171 = load double, ptr %.99
  %.172 = fadd double %.171, %.170
  store double %.172, ptr %.99
  %.173 = add i64 %.102, 1024
  %.174 = icmp slt i64 %.173, %n1
  br i1 %.174, label %loop.100, label %done.100
done.100:
  %.175 = load double, ptr %.99
  %.176 = fptrunc double %.175 to float
  %.177 = select i1 %.3, float %.176, float 0x0000000000000000
  store i64 0, ptr %.178
  %.180 = sub i64 %n1, 64
  %.181 = add i64 %.180, 1
  %.182 = icmp slt i64 0, %.181
  br i1 %.182, label %loop.179, label %done.179
loop.179:
  %.183 = phi i64 [ 0, %done.100 ], [ %.191, %loop.179 ]
  %.184 = mul i64 %.183, 4
  %.185 = getelementptr i8, ptr %.13, i64 %.184
  %.186 = load <64 x float>, ptr %.185, align 4
  %.187 = insertelement <64 x float> poison, float %.177, i64 0
  %.188 = shufflevector <64 x float> %.187, <64 x float> poison, <64 x i32> zeroinitializer
  %.189 = fdiv <64 x float> %.186, %.188
  store <64 x float> %.189, ptr %.185, align 4
  %.190 = add i64 %.183, 64
  store i64 %.190, ptr %.178
  %.191 = add i64 %.183, 64
  %.192 = icmp slt i64 %.191, %.181
  br i1 %.192, label %loop.179, label %done.179
done.179:
  %.193 = load i64, ptr %.178
  %.195 = icmp slt i64 %.193, %n1
  br i1 %.195, label %loop.194, label %done.194
loop.194:
  %.196 = phi i64 [ %.193, %done.179 ], [ %.209, %loop.194 ]
  %.197 = sub i64 %n1, %.196
  %.198 = call i64 @llvm.smin.i64(i64 %.197, i64 16)
  %.199 = sub i64 16, %.198
  %.200 = trunc i64 %.199 to i16
  %.201 = lshr i16 -1, %.200
  %.202 = bitcast i16 %.201 to <16 x i1>
  %.203 = mul i64 %.196, 4
  %.204 = getelementptr i8, ptr %.13, i64 %.203
  %.205 = call <16 x float> @llvm.masked.load.v16f32.p0(ptr align 4 %.204, <16 x i1> %.202, <16 x float> zeroinitializer)
  %.206 = insertelement <16 x float> poison, float %.177, i64 0
  %.207 = shufflevector <16 x float> %.206, <16 x float> poison, <16 x i32> zeroinitializer
  %.208 = fdiv <16 x float> %.205, %.207
  call void @llvm.masked.store.v16f32.p0(<16 x float> %.208, ptr align 4 %.204, <16 x i1> %.202)
  %.209 = add i64 %.196, 16
  %.210 = icmp slt i64 %.209, %n1
  br i1 %.210, label %loop.194, label %done.194
done.194:
  %.211 = load i64, ptr %.7
  %.212 = add i64 %.211, 1
  store i64 %.212, ptr %.7
  %.213 = add i64 %.10, 1
  %.214 = icmp slt i64 %.213, %.6
  br i1 %.214, label %loop.8, label %done.8
done.8:
  ret void
}

define void @run(ptr %out.ptr, ptr %x.ptr, i64 %n0, i64 %n1, i64 %out.s0, i64 %x.s0) #0 {
entry:
  %record = alloca [18 x i64]
  %.1 = getelementptr i64, ptr %record, i64 0
  store ptr %out.ptr, ptr %.1, align 8
  %.2 = getelementptr i64, ptr %record, i64 1
  store ptr %x.ptr, ptr %.2, align 8
  %.3 = getelementptr i64, ptr %record, i64 2
  store i64 %n0, ptr %.3, align 8
  %.4 = getelementptr i64, ptr %record, i64 3
  store i64 %n1, ptr %.4, align 8
  %.5 = getelementptr i64, ptr %record, i64 4
  store i64 %out.s0, ptr %.5, align 8
  %.6 = getelementptr i64, ptr %record, i64 5
  store i64 %x.s0, ptr %.6, align 8
  %.7 = icmp eq i64 %n0, 0
  br i1 %.7, label %leave, label %work
work:
  %.8 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.8, align 8
  %.9 = getelementptr i64, ptr %record, i64 8
  store i64 %n0, ptr %.9, align 8
  %.10 = getelementptr i64, ptr %record, i64 9
  store i64 %n0, ptr %.10, align 8
  %.11 = getelementptr i64, ptr %record, i64 10
  store i64 1, ptr %.11, align 8
  %.12 = mul i64 %n0, %n1
  %.13 = icmp sgt i64 %.12, 15999
  br i1 %.13, label %then.14, label %done.14
then.14:
  %.15 = mul i64 1, %n1
  %.16 = call i64 @llvm.smax.i64(i64 %.15, i64 1)
  %.17 = udiv i64 6336, %.16
  %.18 = call i64 @llvm.smax.i64(i64 %.17, i64 1)
  %.19 = getelementptr i64, ptr %record, i64 7
  store i64 %n0, ptr %.19, align 8
  %.20 = getelementptr i64, ptr %record, i64 8
  store i64 %.18, ptr %.20, align 8
  %.21 = sub i64 %.18, 1
  %.22 = add i64 %n0, %.21
  %.23 = udiv i64 %.22, %.18
  call void @facula_parallel(ptr @task, ptr %record, i64 %.23)
  br label %leave
never.24:
  br label %done.14
done.14:
  call void @task(ptr %record, i64 0)
  br label %leave
leave:
  ret void
}

attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }
